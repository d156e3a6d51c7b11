//! SHA-256 (FIPS 180-4) for pages, of bytes that are there whole: the `sha2` crate also takes them in
//! parts, which is more to download.

/// Hashes bytes, to which it appends what the standard asks for.
pub(crate) fn sha256(mut bytes: Vec<u8>) -> [u32; 8] {
    let bits = bytes.len() as u64 * 8;
    bytes.push(0x80);
    while bytes.len() % 64 != 56 {
        bytes.push(0);
    }
    bytes.extend_from_slice(&bits.to_be_bytes());
    let (mut state, constants) = constants();
    for block in bytes.chunks_exact(64) {
        let mut words = [0; 64];
        for (at, byte) in block.iter().enumerate() {
            words[at / 4] = words[at / 4] << 8 | u32::from(*byte);
        }
        for at in 16..64 {
            let (early, late) = (words[at - 15], words[at - 2]);
            let early = early.rotate_right(7) ^ early.rotate_right(18) ^ early >> 3;
            let late = late.rotate_right(17) ^ late.rotate_right(19) ^ late >> 10;
            let sum = early.wrapping_add(late);
            words[at] = sum.wrapping_add(words[at - 16]).wrapping_add(words[at - 7]);
        }
        let mut mixed = state;
        for (word, constant) in words.iter().zip(constants) {
            let [a, b, c, d, e, f, g, h] = mixed;
            let sum = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let choice = (e & f) ^ (!e & g);
            let first = h.wrapping_add(sum).wrapping_add(choice);
            let first = first.wrapping_add(constant).wrapping_add(*word);
            let sum = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let majority = (a & b) ^ (a & c) ^ (b & c);
            let second = first.wrapping_add(sum).wrapping_add(majority);
            mixed = [second, a, b, c, d.wrapping_add(first), e, f, g];
        }
        for (state, mixed) in state.iter_mut().zip(mixed) {
            *state = state.wrapping_add(mixed);
        }
    }
    state
}

/// What the standard starts with and mixes in: the first 32 bits behind the point of the square roots
/// of the first 8 primes, and of the cube roots of the first 64. Computed, since a table of them is
/// twice as much to download: there is nothing in it to compress.
fn constants() -> ([u32; 8], [u32; 64]) {
    let behind_point = |root: f64| ((root - root.floor()) * 4_294_967_296.0) as u32;
    let (mut start, mut mixed) = ([0; 8], [0; 64]);
    let mut count = 0;
    for number in 2u32.. {
        if count == mixed.len() {
            break;
        }
        // The 64th prime is 311, which is less than 18 times 18.
        if (2..18).any(|divisor| divisor != number && number % divisor == 0) {
            continue;
        }
        let prime = f64::from(number);
        if let Some(start) = start.get_mut(count) {
            *start = behind_point(prime.sqrt());
        }
        // By Newton's method, from the next whole number above all of them: it then has more bits than
        // are taken.
        let root = (0..12).fold(7.0, |root, _| (2.0 * root + prime / (root * root)) / 3.0);
        mixed[count] = behind_point(root);
        count += 1;
    }
    (start, mixed)
}

#[cfg(test)]
mod tests {
    use super::sha256;
    use sha2::{Digest, Sha256};

    #[test]
    fn every_length_around_the_blocks_hashes_as_the_crate_hashes_it() {
        for length in (0..260).chain([1000, 4096, 100_001]) {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 167 + at / 251) as u8).collect();
            let theirs = Sha256::digest(&bytes);
            let ours = sha256(bytes).map(u32::to_be_bytes);
            assert_eq!(ours.concat(), theirs.as_slice(), "{length} bytes");
        }
    }
}
