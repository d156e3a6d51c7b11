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
    let mut state = START;
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
        for (word, constant) in words.iter().zip(CONSTANTS) {
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

const START: [u32; 8] = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

const CONSTANTS: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

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
