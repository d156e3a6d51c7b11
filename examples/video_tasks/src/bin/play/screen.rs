//! What the player draws with: colour on a terminal only, and no line beyond [`WIDTH`].

use std::io::IsTerminal;
use std::sync::LazyLock;

/// Columns.
pub(crate) const WIDTH: usize = 98;

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
    paint("33", text)
}

pub(crate) fn cyan(text: &str) -> String {
    paint("36", text)
}

/// A heading over the whole width.
pub(crate) fn rule(text: &str) -> String {
    let rest = WIDTH.saturating_sub(text.chars().count() + 4);
    format!("{} {} {}", cyan("──"), bold(text), cyan(&"─".repeat(rest)))
}

/// Text in lines of at most [`WIDTH`] columns, broken at blanks, each behind `indent` blanks.
pub(crate) fn wrap(text: &str, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let wide = line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && wide + indent > WIDTH {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    let margin = " ".repeat(indent);
    lines
        .into_iter()
        .map(|line| format!("{margin}{line}"))
        .collect()
}

/// JSON in lines, its members in the order in which they came. A long text goes on under its
/// beginning.
pub(crate) fn json(text: &str, indent: usize) -> Vec<String> {
    spread(text)
        .iter()
        .flat_map(|line| member(line, indent))
        .collect()
}

/// At most so many columns, the last one a `…` where something is left out.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(columns.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// JSON with one member in a line.
fn spread(text: &str) -> Vec<String> {
    let mut lines = vec![];
    let mut line = String::new();
    let mut depth = 0_usize;
    let (mut quoted, mut escaped) = (false, false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if quoted || c == '"' {
            quoted = !quoted || c != '"' || escaped;
            escaped = quoted && c == '\\' && !escaped;
            line.push(c);
            continue;
        }
        let closes = |c: &char| matches!(c, '}' | ']');
        if closes(&c) {
            depth = depth.saturating_sub(1);
            if !line.ends_with(['{', '[']) {
                lines.push(std::mem::replace(&mut line, "  ".repeat(depth)));
            }
        }
        line.push(c);
        match c {
            ':' => line.push(' '),
            '{' | '[' => depth += 1,
            _ => {}
        }
        let empty = characters.peek().is_some_and(closes);
        if c == ',' || (matches!(c, '{' | '[') && !empty) {
            lines.push(std::mem::replace(&mut line, "  ".repeat(depth)));
        }
    }
    lines.push(line);
    lines
}

/// One line of [`spread`], with a colour for its name, in as many lines as it takes.
fn member(line: &str, indent: usize) -> Vec<String> {
    let plain = line.trim_start();
    let indent = indent + line.len() - plain.len();
    let margin = " ".repeat(indent);
    let Some((name, value)) = plain.split_once("\": ").filter(|_| plain.starts_with('"')) else {
        return wrap(plain, indent);
    };
    let mut lines = wrap(value, indent + name.chars().count() + 3);
    lines[0] = format!(
        "{margin}{}: {}",
        cyan(&format!("{name}\"")),
        lines[0].trim_start()
    );
    lines
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
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_spread_over_lines_in_the_order_in_which_it_came() {
        let text = r#"{"z":"a, {b}: \"c\\","a":[1,{"x":null}],"e":{},"f":[]}"#;
        let lines = [
            "{",
            r#"  "z": "a, {b}: \"c\\","#,
            r#"  "a": ["#,
            "    1,",
            "    {",
            r#"      "x": null"#,
            "    }",
            "  ],",
            r#"  "e": {},"#,
            r#"  "f": []"#,
            "}",
        ];
        assert_eq!(spread(text), lines);
    }

    #[test]
    fn a_long_text_of_json_goes_on_under_its_beginning_within_the_width() {
        let text = format!(r#"{{"message":"{}"}}"#, "word ".repeat(60));
        let lines = json(&text, 4);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH));
        assert!(lines[1].starts_with("      \"message\": \"word word"));
        assert!(lines[2].starts_with("                 word"));
        assert_eq!(lines.last().unwrap(), "    }");
    }

    #[test]
    fn what_does_not_fit_says_so() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdefg", 6), "abcde…");
    }
}
