//! What reading leaves behind for writing, and the buffers that hold it, used again and again.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use super::CanonicalError;
use super::members::{Member, Orders};

/// The most bytes that a thread keeps between two texts.
pub(super) const KEEP_BYTES: usize = 2 << 20;

thread_local! {
    static KEPT: Cell<Option<Box<Workspace>>> = const { Cell::new(None) };
}

/// The buffers of one run.
#[derive(Default)]
pub(super) struct Workspace {
    /// The value without the white space around it.
    pub(super) whole: Piece,
    /// Why the text has no canonical form.
    pub(super) error: Option<CanonicalError>,
    /// The members of the objects that are being read, innermost last.
    pub(super) members: Vec<Member>,
    /// What is to be written differently, in the order of the input.
    pub(super) edits: Vec<Edit>,
    /// The members of the objects that are out of order, in canonical order, object by object.
    pub(super) pieces: Vec<Piece>,
    /// Rewritten strings and numbers.
    pub(super) text: Vec<u8>,
    /// Member names that are escaped in the input, decoded.
    pub(super) names: Vec<u8>,
    /// Orders of members that were needed before.
    pub(super) orders: Orders,
    /// Where what is written waits until it is handed on. It never gets shorter, so that it is
    /// zeroed only when it grows.
    pub(super) out: Vec<u8>,
    /// Bytes written, which shows that none is written twice.
    pub(super) written: usize,
}

impl Workspace {
    /// The buffers of this thread, or new ones where they are on loan already.
    #[inline]
    pub(super) fn lend() -> Lent {
        let kept = KEPT.try_with(Cell::take).ok().flatten();
        let mut workspace = kept.unwrap_or_default();
        workspace.clear();
        Lent(Some(workspace))
    }

    /// The canonical form, where it is a part of the input.
    #[inline]
    pub(super) fn unchanged<'a>(&self, input: &'a [u8]) -> Option<&'a [u8]> {
        let Piece { start, end, .. } = self.whole;
        (self.whole.last_edit == 0).then(|| &input[start as usize..end as usize])
    }

    /// How many changes there are so far.
    #[inline(always)]
    pub(super) fn edit_count(&self) -> u32 {
        self.edits.len() as u32
    }

    /// Puts what was appended to the text since `text` in the place of a range of the input.
    pub(super) fn replace(&mut self, start: usize, end: usize, text: usize) {
        let by = By::Text {
            at: text as u32,
            len: (self.text.len() - text) as u32,
        };
        self.edits.push(Edit {
            start: start as u32,
            end: end as u32,
            next: self.edit_count() + 1,
            by,
        });
    }

    /// Takes back the edit of an object in which nothing is changed.
    #[inline(always)]
    pub(super) fn drop_if_last(&mut self, edit: usize) {
        if self.edits.len() == edit + 1 {
            self.edits.truncate(edit);
        }
    }

    fn clear(&mut self) {
        self.error = None;
        self.members.clear();
        self.edits.clear();
        self.pieces.clear();
        self.text.clear();
        self.names.clear();
    }

    pub(super) fn bytes(&self) -> usize {
        self.members.capacity() * size_of::<Member>()
            + self.edits.capacity() * size_of::<Edit>()
            + self.pieces.capacity() * size_of::<Piece>()
            + self.text.capacity()
            + self.names.capacity()
            + self.out.capacity()
    }
}

/// A workspace that goes back to its thread when it is dropped.
pub(super) struct Lent(Option<Box<Workspace>>);

impl Deref for Lent {
    type Target = Workspace;

    fn deref(&self) -> &Workspace {
        self.0
            .as_ref()
            .expect("a workspace is lent until it is dropped")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Workspace {
        self.0
            .as_mut()
            .expect("a workspace is lent until it is dropped")
    }
}

impl Drop for Lent {
    #[inline]
    fn drop(&mut self) {
        let fits = self
            .0
            .take()
            .filter(|workspace| workspace.bytes() <= KEEP_BYTES);
        if let Some(workspace) = fits {
            // Where the thread is ending, the buffers end with it.
            let _ = KEPT.try_with(|kept| kept.set(Some(workspace)));
        }
    }
}

/// A range of the input that is written differently.
#[derive(Clone, Copy)]
pub(super) struct Edit {
    pub(super) start: u32,
    pub(super) end: u32,
    /// The first edit behind this one and all that lie in it.
    pub(super) next: u32,
    pub(super) by: By,
}

/// What takes the place of a range.
#[derive(Clone, Copy)]
pub(super) enum By {
    /// Nothing is changed here: an object whose members came in order.
    Itself,
    /// A range of the text buffer, which may be empty.
    Text { at: u32, len: u32 },
    /// The object with its members in order: a range of the pieces.
    Members { at: u32, len: u32 },
}

/// A member, from the opening quote of its name to the end of its value, and the edits in it.
#[derive(Clone, Copy, Default)]
pub(super) struct Piece {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) first_edit: u32,
    pub(super) last_edit: u32,
}
