//! As much of Redis' protocol as tests need to set a server up and to look into it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// What a Redis server answered. Bytes that are no UTF-8 are replaced: it is for looking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing there.
    Nil,
    /// A number.
    Number(i64),
    /// A simple or a bulk string.
    Text(String),
    /// An error; the server said so in words.
    Error(String),
    /// An array.
    List(Vec<Reply>),
}

impl Reply {
    /// The text of a [`Reply::Text`], else nothing.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    /// A line of `INFO` or `CLUSTER INFO`: the value behind `name:`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.text().lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    }
}

/// Commands over one connection of their own.
pub(crate) fn ask(
    addr: SocketAddr,
    password: Option<&str>,
    commands: &[&[&str]],
) -> io::Result<Vec<Reply>> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    if let Some(password) = password {
        write_command(&mut request, &["AUTH", password]);
    }
    for words in commands {
        write_command(&mut request, words);
    }
    stream.write_all(&request)?;
    let mut from = BufReader::new(stream);
    if password.is_some() {
        read(&mut from)?;
    }
    commands.iter().map(|_| read(&mut from)).collect()
}

fn write_command(to: &mut Vec<u8>, words: &[&str]) {
    to.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        to.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
}

fn read(from: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end();
    let kind = line.get(..1).unwrap_or_default();
    let rest = line.get(1..).unwrap_or_default();
    let number = || {
        let odd = |_| io::Error::new(io::ErrorKind::InvalidData, line.to_string());
        rest.parse::<i64>().map_err(odd)
    };
    Ok(match kind {
        "+" => Reply::Text(rest.to_string()),
        "-" => Reply::Error(rest.to_string()),
        ":" => Reply::Number(number()?),
        "$" => match usize::try_from(number()?) {
            Err(_) => Reply::Nil,
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                from.read_exact(&mut bytes)?;
                Reply::Text(String::from_utf8_lossy(&bytes[..length]).into_owned())
            }
        },
        "*" => match usize::try_from(number()?) {
            Err(_) => Reply::Nil,
            Ok(count) => Reply::List((0..count).map(|_| read(from)).collect::<Result<_, _>>()?),
        },
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, line.to_string())),
    })
}
