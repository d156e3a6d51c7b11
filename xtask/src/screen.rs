//! What a contributor sees: titles, tables, durations. Colour on a terminal only.

use std::io::IsTerminal;
use std::sync::LazyLock;
use std::time::Duration;

pub(crate) fn title(text: &str) {
    println!("\n{}", bold(&format!("== {text} ==")));
}

/// Something that xtask says about its own doings, apart from a tool's output.
pub(crate) fn say(text: &str) {
    println!("{}", dim(&format!("-- {text}")));
}

/// Columns padded to their widest cell. Cells may be coloured.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| width(cell))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::from("  ");
        for (cell, widest) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(widest - width(cell) + 2));
        }
        line.trim_end().to_string()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `0.3 s`, `41.0 s`, `2 min 05 s`.
pub(crate) fn time(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    if seconds < 59.95 {
        format!("{seconds:.1} s")
    } else {
        let whole = seconds.round() as u64;
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

pub(crate) fn bold(text: &str) -> String {
    paint("1", text)
}

pub(crate) fn dim(text: &str) -> String {
    paint("2", text)
}

pub(crate) fn red(text: &str) -> String {
    paint("1;31", text)
}

pub(crate) fn green(text: &str) -> String {
    paint("32", text)
}

pub(crate) fn yellow(text: &str) -> String {
    paint("1;33", text)
}

static COLOUR: LazyLock<bool> = LazyLock::new(|| {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
});

fn paint(code: &str, text: &str) -> String {
    if *COLOUR {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_string()
    }
}

/// Characters on the screen: colour codes take no room.
fn width(cell: &str) -> usize {
    let mut visible = 0;
    let mut in_code = false;
    for character in cell.chars() {
        match character {
            '\x1b' => in_code = true,
            'm' if in_code => in_code = false,
            _ if in_code => {}
            _ => visible += 1,
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_although_some_cells_are_coloured() {
        let rows = [
            vec!["\x1b[32mok\x1b[0m".to_string(), "one".to_string()],
            vec!["failed".to_string(), "two".to_string()],
        ];
        assert_eq!(table(&rows), "  \x1b[32mok\x1b[0m      one\n  failed  two");
    }

    #[test]
    fn a_time_reads_like_a_clock_from_a_minute_on() {
        assert_eq!(time(Duration::from_millis(340)), "0.3 s");
        assert_eq!(time(Duration::from_millis(59_990)), "1 min 00 s");
        assert_eq!(time(Duration::from_secs(125)), "2 min 05 s");
    }
}
