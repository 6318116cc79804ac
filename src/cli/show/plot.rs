//! A picture of where a run's time went: a bar a kind of thread, cut into what its threads did.

use super::number::{duration, percent};
use std::fmt::Write;
use std::time::Duration;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 20.0;
const BAR: f64 = 34.0;
/// From one bar's top to the next one's.
const LINE: f64 = 82.0;
const TOP: f64 = 64.0;
/// Parts narrower than this are told in the legend alone.
const LABELLED: f64 = 56.0;

/// One kind of thread.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Threads<'a> {
    /// What they are called, with how many there are.
    pub(crate) name: String,
    /// Their time, of all of them together.
    pub(crate) time: Duration,
    /// What they did, in order; what is left of their time is told as idle.
    pub(crate) parts: Vec<Part<'a>>,
}

/// What threads did with their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    pub(crate) name: &'a str,
    pub(crate) time: Duration,
    pub(crate) kind: Kind,
}

/// Work or waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Work,
    Waiting,
}

/// Colours of the stages that work, in the order of the flow; and of waiting.
const WORK: [&str; 6] = [
    "#1f5fa8", "#2a8a8a", "#d9822b", "#7a5ba6", "#3c8d40", "#b0413e",
];
const WAITING: &str = "#e4e4e4";

/// The picture as SVG. `heading` is plain text.
pub(crate) fn svg(heading: &str, threads: &[Threads<'_>]) -> String {
    let height = TOP + LINE * threads.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"30\" font-size=\"16\">{}</text>\n",
        escaped(heading)
    );
    let mut colours = WORK.iter().cycle();
    for (line, threads) in threads.iter().enumerate() {
        draw(&mut out, TOP + LINE * line as f64, threads, &mut colours);
    }
    out += "</svg>\n";
    out
}

fn draw<'c>(
    out: &mut String,
    top: f64,
    threads: &Threads<'_>,
    colours: &mut impl Iterator<Item = &'c &'c str>,
) {
    let whole = threads.time.as_secs_f64();
    let told: Duration = threads.parts.iter().map(|part| part.time).sum();
    let idle = Part {
        name: "idle",
        time: threads.time.saturating_sub(told),
        kind: Kind::Waiting,
    };
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{}\" font-size=\"13\">{}</text>",
        top - 6.0,
        escaped(&threads.name)
    );
    let (mut x, mut legend) = (LEFT, Vec::new());
    for part in threads.parts.iter().chain([&idle]) {
        let colour = match part.kind {
            Kind::Work => colours.next().copied().unwrap_or(WAITING),
            Kind::Waiting => WAITING,
        };
        // Threads that outlive the clock by a moment must not draw beyond it.
        let share = if whole > 0.0 {
            part.time.as_secs_f64() / whole.max(told.as_secs_f64())
        } else {
            0.0
        };
        let width = share * (WIDTH - 2.0 * LEFT);
        let name = escaped(part.name);
        if width > 0.0 {
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\" \
                 stroke=\"#fff\"><title>{name}: {}</title></rect>",
                duration(part.time)
            );
        }
        if width >= LABELLED {
            let ink = match part.kind {
                Kind::Work => "#fff",
                Kind::Waiting => "#333",
            };
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{}\" font-size=\"12\" text-anchor=\"middle\" fill=\"{ink}\">{name}</text>",
                x + width / 2.0,
                top + 21.0
            );
        }
        x += width;
        let share = percent(part.time.as_secs_f64(), whole);
        legend.push(format!("{name} {share}"));
    }
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{}\" font-size=\"11\" fill=\"#555\">{}</text>",
        top + BAR + 15.0,
        legend.join(" · ")
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_the_bar_and_what_is_left_is_idle() {
        let part = |name, millis, kind| Part {
            name,
            time: Duration::from_millis(millis),
            kind,
        };
        let threads = [Threads {
            name: "workers < 2".to_owned(),
            time: Duration::from_millis(1000),
            parts: vec![
                part("tokenize", 700, Kind::Work),
                part("render", 50, Kind::Work),
                part("waiting", 150, Kind::Waiting),
            ],
        }];
        let svg = svg("fast & tight", &threads);
        let widths: Vec<f64> = svg
            .lines()
            .filter(|line| line.contains("<title>"))
            .map(|line| line.split("width=\"").nth(1).unwrap())
            .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(widths, [476.0, 34.0, 102.0, 68.0]);
        assert!(svg.contains("tokenize 70.0% · render 5.0% · waiting 15.0% · idle 10.0%"));
        assert!(svg.contains("fast &amp; tight") && svg.contains("workers &lt; 2"));
        // What is too narrow for its name has it in the legend.
        assert!(!svg.contains(">render</text>"));
    }

    #[test]
    fn a_run_without_time_draws_nothing() {
        let threads = [Threads {
            name: String::new(),
            time: Duration::ZERO,
            parts: Vec::new(),
        }];
        assert!(!svg("", &threads).contains("NaN"));
    }
}
