//! What core answers natively: questions come on the standard input, each behind its length in four
//! bytes, and begin with the number of their function; the answers go to the standard output the
//! same way. The tests of the npm package compare them with those of its WebAssembly.

use std::io::{self, BufReader, BufWriter, Read, Write};

fn main() -> io::Result<()> {
    let mut questions = BufReader::new(io::stdin().lock());
    let mut answers = BufWriter::new(io::stdout().lock());
    let mut question = Vec::new();
    loop {
        let mut length = [0; 4];
        match questions.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        question.resize(u32::from_be_bytes(length) as usize, 0);
        questions.read_exact(&mut question)?;
        let (&function, bytes) = question.split_first().ok_or(io::ErrorKind::InvalidData)?;
        let answer = idemp::wire::call(function, bytes);
        answers.write_all(&(answer.len() as u32).to_be_bytes())?;
        answers.write_all(&answer)?;
    }
    answers.flush()
}
