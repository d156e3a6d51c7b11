//! The members of an object, and putting them in order.

use std::cmp::Ordering;

use super::order;
use super::workspace::Piece;

/// A member of an object that is being read.
#[derive(Clone, Copy)]
pub(super) struct Member {
    /// The start of the name: see [`order::prefix`].
    pub(super) prefix: u64,
    /// Where the name is: in the input, or in the buffer of names.
    pub(super) name: u32,
    /// The length of the name, and [`DECODED`] where it is in the buffer of names.
    pub(super) name_len: u32,
    pub(super) piece: Piece,
}

/// Marks a name that was escaped in the input.
pub(super) const DECODED: u32 = 1 << 31;

/// Where the names of members are.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) input: &'a [u8],
    pub(super) decoded: &'a [u8],
}

impl Names<'_> {
    #[inline(always)]
    pub(super) fn compare(self, left: &Member, right: &Member) -> Ordering {
        match left.prefix.cmp(&right.prefix) {
            Ordering::Equal => self.compare_whole(left, right),
            order => order,
        }
    }

    #[inline(never)]
    fn compare_whole(self, left: &Member, right: &Member) -> Ordering {
        order::compare(self.of(left), self.of(right))
    }

    fn of(&self, member: &Member) -> &[u8] {
        let text = if member.name_len & DECODED == 0 {
            self.input
        } else {
            self.decoded
        };
        &text[member.name as usize..][..(member.name_len & !DECODED) as usize]
    }
}

/// Appends the pieces of the members to `pieces`, in order of the names.
///
/// # Errors
/// The offset of the first member, in reading order, whose name came before.
#[inline(never)]
pub(super) fn sort(
    members: &mut [Member],
    names: Names<'_>,
    orders: &mut Orders,
    pieces: &mut Vec<Piece>,
) -> Result<(), usize> {
    if members.len() <= FEW {
        let known = orders.place(members);
        if !known.sorts(members, names) && !known.learn(members, names) {
            sort_by_name(members, names);
            return Err(first_repeated(members, names).unwrap_or_default());
        }
        let order = known.order[..members.len()].iter();
        pieces.extend(order.map(|&at| members[usize::from(at)].piece));
        return Ok(());
    }
    sort_by_name(members, names);
    if let Some(repeated) = first_repeated(members, names) {
        return Err(repeated);
    }
    pieces.extend(members.iter().map(|member| member.piece));
    Ok(())
}

/// Objects of at most so many members are sorted by counting for each how many come before it,
/// which takes more comparisons than sorting does, and no branch that is hard to foresee.
const FEW: usize = 24;

/// Orders that objects needed before. Objects of one kind come again and again, with their members
/// in the same order of the program; to see that a known order fits is less work than to find it.
pub(super) struct Orders([Known; 32]);

impl Default for Orders {
    fn default() -> Self {
        let nothing = Known {
            count: 0,
            order: [0; FEW],
        };
        Self([nothing; 32])
    }
}

impl Orders {
    /// Where the order of such an object is kept: one place for many kinds, and the last one wins.
    fn place(&mut self, members: &[Member]) -> &mut Known {
        let kind = members[0].prefix ^ members.len() as u64;
        let place = kind.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 59;
        &mut self.0[place as usize]
    }
}

#[derive(Clone, Copy)]
struct Known {
    count: u8,
    /// The places of the members in canonical order: a permutation of `0..count`.
    order: [u8; FEW],
}

impl Known {
    /// Whether this order puts these members in order, all names being different.
    #[inline(always)]
    fn sorts(&self, members: &[Member], names: Names<'_>) -> bool {
        if usize::from(self.count) != members.len() {
            return false;
        }
        let mut last = &members[usize::from(self.order[0])];
        for &at in &self.order[1..members.len()] {
            let next = &members[usize::from(at)];
            if names.compare(last, next).is_ge() {
                return false;
            }
            last = next;
        }
        true
    }

    /// Finds the order of these members; not where two names are the same.
    fn learn(&mut self, members: &[Member], names: Names<'_>) -> bool {
        let mut ranks = [0u8; FEW];
        let mut twice = false;
        for (later, member) in members.iter().enumerate() {
            let mut rank = 0;
            for (earlier, slot) in members[..later].iter().zip(&mut ranks) {
                let order = names.compare(earlier, member);
                twice |= order.is_eq();
                rank += u8::from(order.is_lt());
                *slot += u8::from(order.is_ge());
            }
            ranks[later] = rank;
        }
        if twice {
            return false;
        }
        self.count = members.len() as u8;
        for (at, &rank) in ranks[..members.len()].iter().enumerate() {
            self.order[usize::from(rank)] = at as u8;
        }
        true
    }
}

/// Members of one name stay in reading order.
#[inline(never)]
fn sort_by_name(members: &mut [Member], names: Names<'_>) {
    members.sort_unstable_by(|l, r| names.compare(l, r).then(l.piece.start.cmp(&r.piece.start)));
}

/// The offset of the first member, in reading order, whose name came before. They are sorted.
fn first_repeated(members: &[Member], names: Names<'_>) -> Option<usize> {
    let repeated = members
        .windows(2)
        .filter(|pair| names.compare(&pair[0], &pair[1]).is_eq())
        .map(|pair| pair[1].piece.start as usize);
    repeated.min()
}
