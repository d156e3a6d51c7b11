//! Reading: a strict parser of JSON (RFC 8259) that notes what the canonical form changes.

use super::members::{self, DECODED, Member, Names};
use super::workspace::{By, Edit, Piece, Workspace};
use super::{CanonicalError, CanonicalErrorKind, MAX_BYTES, MAX_DEPTH, NumberMode};
use super::{number, order, scan, string};
use crate::utf8;

/// Reads a whole text. What is to be changed lies in the workspace.
#[inline(always)]
pub(super) fn read(
    input: &[u8],
    mode: NumberMode,
    workspace: &mut Workspace,
) -> Result<(), CanonicalError> {
    let read = match mode {
        NumberMode::Exact => Parser::<true>::text(input, mode, workspace),
        mode => Parser::<false>::text(input, mode, workspace),
    };
    read.map_err(|Failed| {
        workspace.error.unwrap_or(CanonicalError {
            kind: CanonicalErrorKind::Syntax,
            offset: 0,
        })
    })
}

/// Where numbers are exact the compiler knows it: no float code comes along to a page that needs
/// none.
struct Parser<'a, const EXACT: bool> {
    input: &'a [u8],
    mode: NumberMode,
    workspace: &'a mut Workspace,
}

/// How far the members of an object, which start at `base`, come in order.
struct Ascent {
    base: usize,
    /// The prefix of the last name.
    last: u64,
    sorted: bool,
}

/// The error is in the workspace: results stay in registers.
struct Failed;

type Position = Result<usize, Failed>;

impl<'a, const EXACT: bool> Parser<'a, EXACT> {
    fn text(input: &'a [u8], mode: NumberMode, workspace: &'a mut Workspace) -> Result<(), Failed> {
        Self {
            input,
            mode,
            workspace,
        }
        .whole()
    }

    #[inline(always)]
    fn mode(&self) -> NumberMode {
        if EXACT { NumberMode::Exact } else { self.mode }
    }

    fn whole(&mut self) -> Result<(), Failed> {
        if self.input.len() > MAX_BYTES {
            return Err(self.fail(CanonicalErrorKind::TooLong, MAX_BYTES));
        }
        if let Some(valid) = utf8::first_invalid(self.input) {
            return Err(self.fail(CanonicalErrorKind::Utf8, valid));
        }
        let start = scan::white_end(self.input, 0);
        let end = self.value(start, 0)?;
        let rest = scan::white_end(self.input, end);
        if rest != self.input.len() {
            return Err(self.fail(CanonicalErrorKind::Trailing, rest));
        }
        self.workspace.whole = Piece {
            start: start as u32,
            end: end as u32,
            first_edit: 0,
            last_edit: self.workspace.edit_count(),
        };
        Ok(())
    }

    /// Reads the value at `at`, perhaps behind white space, and returns its end.
    #[inline(always)]
    fn value(&mut self, at: usize, depth: usize) -> Position {
        match self.byte(at) {
            b'"' => self.string(at),
            b'{' => self.object(at, depth + 1),
            b'[' => self.array(at, depth + 1),
            b'-' | b'0'..=b'9' => self.number(at),
            b't' => self.word(at, b"true"),
            b'f' => self.word(at, b"false"),
            b'n' => self.word(at, b"null"),
            b' ' | b'\n' | b'\r' | b'\t' => self.value_behind_white(at, depth),
            _ => Err(self.unexpected(at)),
        }
    }

    #[inline(never)]
    fn value_behind_white(&mut self, at: usize, depth: usize) -> Position {
        let at = self.leave_out_white(at);
        self.value(at, depth)
    }

    fn array(&mut self, open: usize, depth: usize) -> Position {
        if depth > MAX_DEPTH {
            return Err(self.fail(CanonicalErrorKind::Depth, open));
        }
        let (byte, mut at) = self.past_white(open + 1);
        if byte == b']' {
            return Ok(at + 1);
        }
        loop {
            let end = self.value(at, depth)?;
            let (byte, behind) = self.past_white(end);
            at = behind + 1;
            match byte {
                b',' => {}
                b']' => return Ok(at),
                _ => return Err(self.unexpected(behind)),
            }
        }
    }

    fn object(&mut self, open: usize, depth: usize) -> Position {
        if depth > MAX_DEPTH {
            return Err(self.fail(CanonicalErrorKind::Depth, open));
        }
        // Holds the place of this object, before what lies in it.
        let edit = self.workspace.edits.len();
        self.workspace.edits.push(Edit {
            start: open as u32,
            end: 0,
            next: edit as u32 + 1,
            by: By::Itself,
        });
        let (mut byte, mut at) = self.past_white(open + 1);
        if byte == b'}' {
            self.workspace.drop_if_last(edit);
            return Ok(at + 1);
        }
        let base = self.workspace.members.len();
        let mut ascent = Ascent {
            base,
            last: 0,
            sorted: true,
        };
        loop {
            if byte != b'"' {
                return Err(self.unexpected(at));
            }
            at = self.name(at, &mut ascent)?;
            (byte, at) = self.past_white(at);
            if byte != b':' {
                return Err(self.unexpected(at));
            }
            at = self.value(at + 1, depth)?;
            let last_edit = self.workspace.edit_count();
            if let Some(member) = self.workspace.members.last_mut() {
                member.piece.end = at as u32;
                member.piece.last_edit = last_edit;
            }
            (byte, at) = self.past_white(at);
            if byte != b',' {
                break;
            }
            (byte, at) = self.past_white(at + 1);
        }
        if byte != b'}' {
            return Err(self.unexpected(at));
        }
        at += 1;
        if ascent.sorted {
            self.workspace.drop_if_last(edit);
        } else {
            self.sort(base, edit, at)?;
        }
        self.workspace.members.truncate(base);
        Ok(at)
    }

    /// Reads the name at `at`, notes the member, and whether it comes behind the one before it.
    #[inline(always)]
    fn name(&mut self, at: usize, ascent: &mut Ascent) -> Position {
        let start = at + 1;
        let first_edit = self.workspace.edit_count();
        let prefix;
        let close = match scan::word(self.input, start) {
            Some(word) => {
                let marks = scan::specials(word);
                if marks != 0 {
                    prefix = order::prefix_in_word(scan::before_first(word, marks));
                    start + scan::first(marks)
                } else {
                    prefix = order::prefix_in_word(word);
                    scan::string_end(self.input, start + 8)
                }
            }
            None => {
                let close = scan::string_end(self.input, start);
                prefix = order::prefix(&self.input[start..close]);
                close
            }
        };
        if self.byte(close) != b'"' {
            return self.escaped_name(at, close, ascent);
        }
        let member = Member {
            prefix,
            name: start as u32,
            name_len: (close - start) as u32,
            piece: Piece {
                start: at as u32,
                end: 0,
                first_edit,
                last_edit: 0,
            },
        };
        self.member(member, ascent);
        Ok(close + 1)
    }

    /// The name at `at`, whose first byte that is not plain is at `special`.
    #[cold]
    fn escaped_name(&mut self, at: usize, special: usize, ascent: &mut Ascent) -> Position {
        let first_edit = self.workspace.edit_count();
        let end = self.escaped(at + 1, special)?;
        let names = &mut self.workspace.names;
        let decoded = names.len();
        string::decode(&self.input[at + 1..end - 1], names);
        let member = Member {
            prefix: order::prefix(&names[decoded..]),
            name: decoded as u32,
            name_len: (names.len() - decoded) as u32 | DECODED,
            piece: Piece {
                start: at as u32,
                end: 0,
                first_edit,
                last_edit: 0,
            },
        };
        self.member(member, ascent);
        Ok(end)
    }

    /// Notes a member, and whether it comes behind the one before it.
    #[inline(always)]
    fn member(&mut self, member: Member, ascent: &mut Ascent) {
        self.workspace.members.push(member);
        if ascent.sorted && member.prefix <= ascent.last {
            ascent.sorted = self.last_ascends(ascent, member.prefix);
        }
        ascent.last = member.prefix;
    }

    #[inline(never)]
    fn last_ascends(&self, ascent: &Ascent, prefix: u64) -> bool {
        match &self.workspace.members[ascent.base..] {
            [.., before, last] => {
                prefix == ascent.last && self.names().compare(before, last).is_lt()
            }
            _ => true,
        }
    }

    fn names(&self) -> Names<'_> {
        Names {
            input: self.input,
            decoded: &self.workspace.names,
        }
    }

    /// Puts the members from `base` on in order and notes it in the edit of their object.
    fn sort(&mut self, base: usize, edit: usize, end: usize) -> Result<(), Failed> {
        let workspace = &mut *self.workspace;
        let names = Names {
            input: self.input,
            decoded: &workspace.names,
        };
        let members = &mut workspace.members[base..];
        let count = members.len();
        let at = workspace.pieces.len();
        match members::sort(members, names, &mut workspace.orders, &mut workspace.pieces) {
            Ok(()) => {}
            Err(offset) => return Err(self.fail(CanonicalErrorKind::Duplicate, offset)),
        }
        let next = workspace.edits.len() as u32;
        let entry = &mut workspace.edits[edit];
        entry.end = end as u32;
        entry.next = next;
        entry.by = By::Members {
            at: at as u32,
            len: count as u32,
        };
        Ok(())
    }

    #[inline(always)]
    fn string(&mut self, open: usize) -> Position {
        let start = open + 1;
        let close = scan::string_end(self.input, start);
        if self.byte(close) == b'"' {
            return Ok(close + 1);
        }
        self.escaped(start, close)
    }

    /// The rest of a string, from its first byte that is not plain, which is at `at`.
    #[inline(never)]
    fn escaped(&mut self, start: usize, at: usize) -> Position {
        let text = self.workspace.text.len();
        match string::read(self.input, start, at, &mut self.workspace.text) {
            Ok(escaped) => {
                if !escaped.canonical {
                    self.replace(start, escaped.close, text);
                }
                Ok(escaped.close + 1)
            }
            Err((kind, offset)) => Err(self.fail(kind, offset)),
        }
    }

    #[inline(always)]
    fn number(&mut self, start: usize) -> Position {
        match number::read(self.input, start, self.mode()) {
            Ok(literal) if literal.canonical => Ok(literal.end),
            Ok(literal) => self.rewrite_number(start, literal.end),
            Err(offset) => Err(self.unexpected(offset)),
        }
    }

    #[inline(never)]
    fn rewrite_number(&mut self, start: usize, end: usize) -> Position {
        let text = self.workspace.text.len();
        let literal = &self.input[start..end];
        if let Err(kind) = number::rewrite::<EXACT>(literal, self.mode, &mut self.workspace.text) {
            return Err(self.fail(kind, start));
        }
        self.replace(start, end, text);
        Ok(end)
    }

    /// Puts what was appended to the text since `text` in the place of a range of the input, where
    /// it is something else.
    fn replace(&mut self, start: usize, end: usize, text: usize) {
        if self.workspace.text[text..] == self.input[start..end] {
            self.workspace.text.truncate(text);
        } else {
            self.workspace.replace(start, end, text);
        }
    }

    #[inline(always)]
    fn word(&mut self, at: usize, word: &'static [u8]) -> Position {
        if self.input[at..].starts_with(word) {
            return Ok(at + word.len());
        }
        let same = self.input[at..]
            .iter()
            .zip(word)
            .take_while(|(l, r)| l == r);
        let same = same.count();
        if same == word.len() {
            return Ok(at + same);
        }
        Err(self.unexpected(at + same))
    }

    /// The byte at `at`, or 0 at the end: JSON has no use for that byte.
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.input.get(at).copied().unwrap_or(0)
    }

    /// The first byte at or behind `at` that is no white space, and its place. What lies before it
    /// is left out.
    #[inline(always)]
    fn past_white(&mut self, at: usize) -> (u8, usize) {
        match self.byte(at) {
            b'\0'..=b' ' => {
                let at = self.leave_out_white(at);
                (self.byte(at), at)
            }
            byte => (byte, at),
        }
    }

    #[inline(never)]
    fn leave_out_white(&mut self, start: usize) -> usize {
        let end = scan::white_end(self.input, start);
        if end > start {
            let text = self.workspace.text.len();
            self.workspace.replace(start, end, text);
        }
        end
    }

    /// Something does not belong at `at`, or is missing there.
    #[cold]
    fn unexpected(&mut self, at: usize) -> Failed {
        let kind = if at < self.input.len() {
            CanonicalErrorKind::Syntax
        } else {
            CanonicalErrorKind::Eof
        };
        self.fail(kind, at)
    }

    #[cold]
    fn fail(&mut self, kind: CanonicalErrorKind, offset: usize) -> Failed {
        self.workspace.error = Some(CanonicalError { kind, offset });
        Failed
    }
}
