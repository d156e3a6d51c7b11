//! Writing the canonical form: from front to back, each byte once, however deep it lies.

use super::workspace::{By, Piece, Workspace};

/// Writes `head`, a few bytes, and the canonical form to `sink`, some thousand bytes at a time.
pub(super) fn write(input: &[u8], workspace: &mut Workspace, head: &[u8], sink: impl FnMut(&[u8])) {
    let mut buffer = std::mem::take(&mut workspace.out);
    if buffer.len() < BUFFER {
        buffer.resize(BUFFER, 0);
    }
    let mut writer = Writer {
        input,
        workspace,
        buffer: &mut buffer,
        at: 0,
        written: 0,
        sink,
    };
    writer.copy_any(head);
    writer.piece(workspace.whole);
    writer.flush();
    let written = writer.written - head.len();
    workspace.out = buffer;
    workspace.written = written;
}

/// The room before what is written is handed on: it fits into the fastest cache.
const BUFFER: usize = 8 << 10;

/// How many bytes a short copy moves at once.
const STEP: usize = 32;

struct Writer<'a, S> {
    input: &'a [u8],
    workspace: &'a Workspace,
    buffer: &'a mut [u8],
    /// How much of the buffer is full.
    at: usize,
    /// How much was handed on.
    written: usize,
    sink: S,
}

impl<S: FnMut(&[u8])> Writer<'_, S> {
    /// Writes a range of the input with its edits. Nests as deep as the text does.
    fn piece(&mut self, piece: Piece) {
        let mut from = piece.start as usize;
        let mut next = piece.first_edit as usize;
        while next < piece.last_edit as usize {
            let edit = self.workspace.edits[next];
            next = edit.next as usize;
            match edit.by {
                By::Itself => continue,
                By::Text { at, len } => {
                    self.copy(self.input, from, edit.start as usize);
                    let (text, at) = (&self.workspace.text, at as usize);
                    self.copy(text, at, at + len as usize);
                }
                By::Members { at, len } => {
                    self.copy(self.input, from, edit.start as usize);
                    self.members(at as usize, len as usize);
                }
            }
            from = edit.end as usize;
        }
        self.copy(self.input, from, piece.end as usize);
    }

    fn members(&mut self, first: usize, len: usize) {
        let pieces = &self.workspace.pieces[first..][..len];
        let mut at = self.byte(b'{');
        for piece in pieces {
            let from = piece.start as usize;
            let len = piece.end as usize - from;
            if piece.first_edit != piece.last_edit {
                self.at = at;
                self.piece(*piece);
                at = self.byte(b',');
                continue;
            }
            let wide = (
                self.input.get(from..from + STEP),
                self.buffer.get_mut(at..at + STEP),
            );
            if let (true, (Some(source), Some(target))) = (len < STEP, wide) {
                // What is too much is written over by what comes next.
                target.copy_from_slice(source);
                target[len] = b',';
                at += len + 1;
            } else {
                self.at = at;
                self.copy_any(&self.input[from..from + len]);
                at = self.byte(b',');
            }
        }
        // In the place of the last comma, which was not handed on: see `byte`.
        self.buffer[at - 1] = b'}';
        self.at = at;
    }

    /// Writes one byte and returns the place behind it, leaving it in the buffer.
    #[inline(always)]
    fn byte(&mut self, byte: u8) -> usize {
        if self.at == self.buffer.len() {
            self.flush();
        }
        self.buffer[self.at] = byte;
        self.at += 1;
        self.at
    }

    /// Writes a range of the input or of the rewritten text as it is.
    #[inline(always)]
    fn copy(&mut self, text: &[u8], from: usize, to: usize) {
        let len = to - from;
        let wide = (
            text.get(from..from + STEP),
            self.buffer.get_mut(self.at..self.at + STEP),
        );
        if let (true, (Some(source), Some(target))) = (len <= STEP, wide) {
            target.copy_from_slice(source);
            self.at += len;
        } else {
            self.copy_any(&text[from..to]);
        }
    }

    #[inline(never)]
    fn copy_any(&mut self, text: &[u8]) {
        if self.buffer.len() - self.at < text.len() {
            self.flush();
            if self.buffer.len() < text.len() {
                (self.sink)(text);
                self.written += text.len();
                return;
            }
        }
        self.buffer[self.at..][..text.len()].copy_from_slice(text);
        self.at += text.len();
    }

    fn flush(&mut self) {
        (self.sink)(&self.buffer[..self.at]);
        self.written += self.at;
        self.at = 0;
    }
}
