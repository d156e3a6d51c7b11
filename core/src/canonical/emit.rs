//! Writing the canonical form: from front to back, each byte once, however deep it lies.

use super::workspace::{By, Piece, Workspace};

/// Writes the canonical form to the front of `out`, which it makes longer where it must, and
/// returns its length.
pub(super) fn write(input: &[u8], workspace: &mut Workspace, out: &mut Vec<u8>) -> usize {
    // Nothing is written that is not in the one or the other, and no more than once.
    let bound = input.len() + workspace.text.len() + SLACK;
    if out.len() < bound {
        out.resize(bound, 0);
    }
    let mut writer = Writer {
        input,
        workspace,
        out,
        at: 0,
    };
    writer.piece(workspace.whole);
    let len = writer.at;
    #[cfg(test)]
    {
        workspace.written += len;
    }
    len
}

/// Room behind the last byte, so that short ranges can be copied in one go with what follows them.
const SLACK: usize = STEP;

/// How many bytes a short copy moves at once.
const STEP: usize = 32;

struct Writer<'a> {
    input: &'a [u8],
    workspace: &'a Workspace,
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
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
                    self.copy(from, edit.start as usize);
                    let text = &self.workspace.text[at as usize..][..len as usize];
                    self.out[self.at..][..text.len()].copy_from_slice(text);
                    self.at += text.len();
                }
                By::Members { at, len } => {
                    self.copy(from, edit.start as usize);
                    self.members(at as usize, len as usize);
                }
            }
            from = edit.end as usize;
        }
        self.copy(from, piece.end as usize);
    }

    fn members(&mut self, at: usize, len: usize) {
        let workspace = self.workspace;
        let mut before = b'{';
        for piece in &workspace.pieces[at..][..len] {
            self.out[self.at] = before;
            self.at += 1;
            before = b',';
            if piece.first_edit == piece.last_edit {
                self.copy(piece.start as usize, piece.end as usize);
            } else {
                self.piece(*piece);
            }
        }
        self.out[self.at] = b'}';
        self.at += 1;
    }

    /// Writes a range of the input as it is.
    #[inline(always)]
    fn copy(&mut self, from: usize, to: usize) {
        let len = to - from;
        let wide = (
            self.input.get(from..from + STEP),
            self.out.get_mut(self.at..self.at + STEP),
        );
        if let (true, (Some(source), Some(target))) = (len <= STEP, wide) {
            // What is too much is written over by what comes next.
            target.copy_from_slice(source);
        } else {
            self.out[self.at..][..len].copy_from_slice(&self.input[from..to]);
        }
        self.at += len;
    }
}
