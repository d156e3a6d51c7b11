//! What the player draws with: colour on a terminal only, and no line beyond [`WIDTH`].

use std::io::IsTerminal;
use std::sync::LazyLock;

use serde_json::Value;

/// Columns.
pub(crate) const WIDTH: usize = 96;

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

/// JSON in lines. A long text goes on under its beginning.
pub(crate) fn json(value: &Value, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    members(value, indent, "", "", &mut lines);
    lines
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

fn members(value: &Value, indent: usize, name: &str, comma: &str, lines: &mut Vec<String>) {
    let margin = " ".repeat(indent);
    let label = if name.is_empty() {
        String::new()
    } else {
        format!("{}: ", cyan(&format!("\"{name}\"")))
    };
    let (open, inner, close): (_, Vec<(&str, &Value)>, _) = match value {
        Value::Object(object) if !object.is_empty() => {
            let inner = object.iter().map(|(name, value)| (name.as_str(), value));
            ("{", inner.collect(), "}")
        }
        Value::Array(array) if !array.is_empty() => {
            ("[", array.iter().map(|value| ("", value)).collect(), "]")
        }
        plain => {
            // `"name": ` takes four columns more than the name.
            let hang = indent + if name.is_empty() { 0 } else { name.chars().count() + 4 };
            let mut text = wrap(&format!("{plain}{comma}"), hang);
            text[0] = format!("{margin}{label}{}", text[0].trim_start());
            lines.append(&mut text);
            return;
        }
    };
    lines.push(format!("{margin}{label}{open}"));
    let last = inner.len() - 1;
    for (index, (name, value)) in inner.into_iter().enumerate() {
        let comma = if index < last { "," } else { "" };
        members(value, indent + 2, name, comma, lines);
    }
    lines.push(format!("{margin}{close}{comma}"));
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
    fn a_long_text_of_json_goes_on_under_its_beginning_within_the_width() {
        let value = serde_json::json!({ "message": "word ".repeat(60), "n": [1, {}] });
        let lines = json(&value, 4);
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
