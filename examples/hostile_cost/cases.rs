//! The hostile inputs, each written when its turn comes and removed after it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Chats beside what is hostile.
const CHATS: usize = 2_000;

/// What a template does with one chat in a thousand.
const SOME: &str = "{% if messages[0].content == 'Record 1000.' %}";

const TEMPLATE: &str = "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}\
{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}";

/// Writes cases.
pub(crate) struct Writer {
    pub(crate) folder: PathBuf,
    pub(crate) tokenizer: PathBuf,
    /// Text of what is large.
    pub(crate) size: u64,
}

/// One hostile input and its recipes.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) stop: PathBuf,
    /// None where no policy could mend it.
    pub(crate) skip: Option<PathBuf>,
    folder: PathBuf,
}

impl Case {
    pub(crate) fn remove(&self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// How text is stored.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    Gzip,
    /// One frame of a size that its header does not say.
    Zstd,
    /// Frames of 1 MiB that say their sizes.
    Frames,
}

impl Writer {
    /// A run of one chat.
    pub(crate) fn empty(&self) -> PathBuf {
        let folder = self.folder.join("empty");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("a.jsonl"), chats(1)).unwrap();
        self.recipe(&folder, "a.jsonl", "", "")
    }

    /// All cases, one after the other.
    pub(crate) fn cases(&self) -> impl Iterator<Item = Case> + '_ {
        let large: [(&str, Form, &str); 8] = [
            ("a long line, plain, held", Form::Plain, ""),
            ("a long line, plain, streamed", Form::Plain, "hold: 0"),
            (
                "a long line, plain, held, `io: pread`",
                Form::Plain,
                "io: pread",
            ),
            ("a long line, gzip, held", Form::Gzip, ""),
            ("a long line, one zstd frame, held", Form::Zstd, ""),
            ("a long line, zstd frames, held", Form::Frames, ""),
            (
                "a long line, zstd frames, streamed",
                Form::Frames,
                "hold: 0",
            ),
            (
                "a long line, zstd frames, streamed, `io: pread`",
                Form::Frames,
                "hold: 0\nio: pread",
            ),
        ];
        let lines = large
            .into_iter()
            .map(|(name, form, more)| self.long_line(name, form, more));
        let bombs = [
            ("a zstd bomb, held", Bomb::Zstd, ""),
            ("a zstd bomb that says its size, held", Bomb::Sized, ""),
            (
                "a zstd bomb among frames, streamed",
                Bomb::Zstd,
                "hold: 1MiB",
            ),
            ("a gzip bomb, held", Bomb::Gzip, ""),
        ];
        let bombs = bombs
            .into_iter()
            .map(|(name, bomb, more)| self.bomb(name, bomb, more));
        let records: [(&str, String); 8] = [
            (
                "JSON nested 100,000 deep",
                format!("{{\"a\": {}", "[".repeat(100_000)),
            ),
            ("not UTF-8", "not-utf8".to_owned()),
            (
                "half a surrogate",
                r#"{"messages": [{"role": "user", "content": "\ud83d"}]}"#.to_owned(),
            ),
            (
                "a row of another shape",
                r#"{"text": "another"}"#.to_owned(),
            ),
            (
                "a record of 15 MiB of one letter",
                answer(&"a".repeat(15 << 20)),
            ),
            (
                "a record of 15 MiB of words",
                answer(&"some words ".repeat((15 << 20) / 11)),
            ),
            (
                "a record of 15 MiB that is no JSON",
                "[1, ".repeat(15 << 18),
            ),
            (
                "a record of 7 million keys",
                format!("{{\"a\": {{{}}}", "\"\":1,".repeat(2 << 20)),
            ),
        ];
        let records = records
            .into_iter()
            .map(|(name, record)| self.record(name, &record));
        let templates = [
            (
                "a template without end",
                "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
            ),
            (
                "a template that prints without end",
                "{% for a in range(100000) %}{% for b in range(100000) %}{{ 'x' * 999 }}{% endfor %}{% endfor %}",
            ),
            (
                "a template that doubles a text",
                "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            ),
            (
                "a template that doubles a list",
                "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
            ),
            ("a template that raises", "{{ raise_exception('no') }}"),
        ];
        let templates = templates
            .into_iter()
            .map(|(name, waste)| self.template(name, waste));
        let turns = std::iter::once_with(|| self.turns());
        let files = std::iter::once_with(|| self.tokenizer_of_noise());
        lines
            .chain(bombs)
            .chain(records)
            .chain(templates)
            .chain(turns)
            .chain(files)
    }

    fn long_line(&self, name: &str, form: Form, more: &str) -> Case {
        let folder = self.case();
        let mut out = Out::new(&folder.join("a.jsonl"), form);
        out.write(chats(CHATS).as_bytes());
        let mut left = self.size;
        let mut noise = Noise(1);
        while left > 0 {
            let piece = noise.text(left.min(1 << 20) as usize);
            left -= piece.len() as u64;
            out.write(&piece);
        }
        out.write(b"\n");
        out.write(chats(CHATS).as_bytes());
        out.finish();
        self.both(name, folder, more, "")
    }

    fn bomb(&self, name: &str, bomb: Bomb, more: &str) -> Case {
        let folder = self.case();
        let good = zstd::bulk::compress(chats(CHATS).as_bytes(), 3).unwrap();
        let mut stored = Vec::new();
        match bomb {
            Bomb::Gzip => {
                let mut writer =
                    flate2::write::GzEncoder::new(&mut stored, flate2::Compression::best());
                pour(&mut writer, self.size);
                writer.finish().unwrap();
            }
            Bomb::Zstd | Bomb::Sized => {
                stored.extend(good.repeat(8));
                let mut writer = zstd::Encoder::new(&mut stored, 1).unwrap();
                if matches!(bomb, Bomb::Sized) {
                    writer.set_pledged_src_size(Some(self.size)).unwrap();
                    writer.include_contentsize(true).unwrap();
                }
                pour(&mut writer, self.size);
                writer.finish().unwrap();
                stored.extend(good.repeat(8));
            }
        }
        std::fs::write(folder.join("a.jsonl"), stored).unwrap();
        // A gzip file is a bomb as a whole, so that its chats lie beside it.
        std::fs::write(folder.join("b.jsonl"), chats(CHATS)).unwrap();
        self.both(name, folder, more, "")
    }

    fn record(&self, name: &str, record: &str) -> Case {
        let folder = self.case();
        let mut shard = chats(CHATS).into_bytes();
        match record {
            "not-utf8" => {
                shard.extend(b"{\"messages\": [{\"role\": \"user\", \"content\": \"\xff\"}]}\n")
            }
            _ => shard.extend(format!("{record}\n").into_bytes()),
        }
        shard.extend(chats(CHATS).into_bytes());
        std::fs::write(folder.join("a.jsonl"), shard).unwrap();
        // The one record that is not bad is longer than a row may be.
        let more = if name.contains("words") {
            "pack: {overlong: error}"
        } else {
            ""
        };
        let mut case = self.both(name, folder, "", more);
        if !more.is_empty() {
            let dropped = self.recipe(
                &case.folder,
                "*.jsonl",
                "skip.yaml",
                "pack: {overlong: drop}",
            );
            case.skip = Some(dropped);
        }
        case
    }

    fn template(&self, name: &str, waste: &str) -> Case {
        let folder = self.case();
        std::fs::write(folder.join("a.jsonl"), chats(CHATS)).unwrap();
        let template = format!("{SOME}{waste}{{% endif %}}{TEMPLATE}");
        std::fs::write(folder.join("own.jinja"), template).unwrap();
        self.both(name, folder, "template: own.jinja", "")
    }

    /// As many turns as are allowed, whose texts together are not.
    fn turns(&self) -> Case {
        let folder = self.case();
        let long = "x ".repeat(100_000);
        let mut turns = String::new();
        for turn in 0..64 {
            let comma = if turn > 0 { ", " } else { "" };
            let _ = write!(
                turns,
                "{comma}{{\"role\": \"user\", \"content\": \"{long}\"}}, {{\"role\": \"assistant\", \"content\": \"a{turn}\"}}"
            );
        }
        let shard = format!(
            "{}{{\"messages\": [{turns}]}}\n{}",
            chats(CHATS),
            chats(CHATS)
        );
        std::fs::write(folder.join("a.jsonl"), shard).unwrap();
        std::fs::write(folder.join("own.jinja"), TEMPLATE).unwrap();
        let more = "template: own.jinja\nrender: per_turn";
        self.both("`per_turn` of 64 turns of 200 KB", folder, more, "")
    }

    fn tokenizer_of_noise(&self) -> Case {
        let folder = self.case();
        std::fs::write(folder.join("a.jsonl"), chats(10)).unwrap();
        std::fs::create_dir(folder.join("tokenizer")).unwrap();
        let noise = Noise(7).text(8 << 20);
        std::fs::write(folder.join("tokenizer/tokenizer.json"), noise).unwrap();
        let text = format!(
            "tokenizer: tokenizer\nsources: [{{name: a, paths: [{}/a.jsonl]}}]\nepochs: 1\n",
            folder.display()
        );
        let stop = folder.join("stop.yaml");
        std::fs::write(&stop, text).unwrap();
        Case {
            name: "a tokenizer that is none".to_owned(),
            stop,
            skip: None,
            folder,
        }
    }

    fn case(&self) -> PathBuf {
        let folder = self.folder.join("case");
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    fn both(&self, name: &str, folder: PathBuf, more: &str, stop: &str) -> Case {
        let skip = format!("{more}\non_bad_record: {{skip: {{max_fraction: 0.01}}}}");
        Case {
            name: name.to_owned(),
            stop: self.recipe(&folder, "*.jsonl", "stop.yaml", &format!("{more}\n{stop}")),
            skip: Some(self.recipe(&folder, "*.jsonl", "skip.yaml", &skip)),
            folder,
        }
    }

    fn recipe(&self, folder: &Path, paths: &str, name: &str, more: &str) -> PathBuf {
        let text = format!(
            "tokenizer: {}\nsources: [{{name: a, paths: [\"{paths}\"]}}]\nlanes: 1\nshuffle: false\nepochs: 1\n{more}\n",
            self.tokenizer.display()
        );
        let path = folder.join(if name.is_empty() { "recipe.yaml" } else { name });
        std::fs::write(&path, text).unwrap();
        path
    }
}

#[derive(Clone, Copy)]
enum Bomb {
    Zstd,
    /// Its header says how much it holds.
    Sized,
    Gzip,
}

fn pour(out: &mut impl Write, size: u64) {
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..size >> 20 {
        out.write_all(&piece).unwrap();
    }
}

/// A shard that is written as it comes.
enum Out {
    Plain(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<File>),
    Zstd(Box<zstd::Encoder<'static, File>>),
    Frames(File),
}

impl Out {
    fn new(path: &Path, form: Form) -> Out {
        let file = File::create(path).unwrap();
        match form {
            Form::Plain => Out::Plain(BufWriter::new(file)),
            Form::Gzip => Out::Gzip(flate2::write::GzEncoder::new(
                file,
                flate2::Compression::fast(),
            )),
            Form::Zstd => Out::Zstd(Box::new(zstd::Encoder::new(file, 1).unwrap())),
            Form::Frames => Out::Frames(file),
        }
    }

    fn write(&mut self, text: &[u8]) {
        match self {
            Out::Plain(out) => out.write_all(text),
            Out::Gzip(out) => out.write_all(text),
            Out::Zstd(out) => out.write_all(text),
            Out::Frames(out) => text
                .chunks(1 << 20)
                .try_for_each(|part| out.write_all(&zstd::bulk::compress(part, 1).unwrap())),
        }
        .unwrap();
    }

    fn finish(self) {
        match self {
            Out::Plain(mut out) => out.flush().unwrap(),
            Out::Gzip(out) => drop(out.finish().unwrap()),
            Out::Zstd(out) => drop(out.finish().unwrap()),
            Out::Frames(_) => {}
        }
    }
}

/// Letters without sense, which compress to three quarters.
struct Noise(u64);

impl Noise {
    fn text(&mut self, len: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(len + 8);
        while text.len() < len {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            text.extend(self.0.to_le_bytes().map(|byte| b'0' + byte % 64));
        }
        text.truncate(len);
        text
    }
}

fn answer(text: &str) -> String {
    format!(
        r#"{{"messages": [{{"role": "user", "content": "Hi"}}, {{"role": "assistant", "content": "{text}"}}]}}"#
    )
}

fn chats(n: usize) -> String {
    let mut text = String::new();
    for record in 0..n {
        let _ = writeln!(
            text,
            r#"{{"messages": [{{"role": "user", "content": "Record {record}."}}, {{"role": "assistant", "content": "Tea and boats and {} in the snow."}}]}}"#,
            record * 7 % 1000
        );
    }
    text
}
