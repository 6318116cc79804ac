//! How long a stream will be, before its first batch.

use super::number::exact;
use crate::cli::stdio;
use crate::pipeline::Outlook;

/// Epochs whose rows are named one by one.
const NAMED: usize = 8;

/// On stderr: results go to stdout.
pub(crate) fn outlook(outlook: &Outlook) {
    stdio::note(text(outlook));
}

fn text(outlook: &Outlook) -> String {
    let of = |all: &[u64]| {
        let named: Vec<String> = all.iter().take(NAMED).map(|&n| exact(n)).collect();
        let more = if all.len() > NAMED { ", …" } else { "" };
        format!("{}{more}", named.join(", "))
    };
    let (rows, steps) = (of(&outlook.rows), of(&outlook.steps));
    let ends = match outlook.last_step {
        Some(last) => format!("the last step is {}", exact(last)),
        None => "epochs go on without end".to_owned(),
    };
    let counted = match outlook.counted_records {
        0 => "lengths from the cache".to_owned(),
        counted => format!("{} records counted", exact(counted)),
    };
    format!("plan    {rows} rows and {steps} steps an epoch; {ends}; {counted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_rows_steps_and_the_end() {
        let mut outlook = Outlook {
            rows: vec![10, 11],
            steps: vec![3, 3],
            last_step: Some(6),
            counted_records: 0,
        };
        let ended = "plan    10, 11 rows and 3, 3 steps an epoch; the last step is 6; lengths from the cache";
        assert_eq!(text(&outlook), ended);
        outlook.last_step = None;
        outlook.counted_records = 1_000;
        assert!(text(&outlook).contains("without end; 1,000 records counted"));
    }
}
