//! The fingerprint of a JSON body against `serde_json_canonicalizer` and SHA-256.
//!
//! `cargo run --release -p idemp-benches --bin fingerprint`

use std::fmt::Write as _;

use idemp::{Fingerprint, NumberMode, canonicalize};
use idemp_benches::Race;
use serde_json::Value;
use sha2::{Digest, Sha256};

fn main() {
    let sizes = [("150 B", 1), ("2 KB", 10), ("64 KB", 345), ("1 MB", 5520)];
    for sorted in [false, true] {
        for (name, records) in sizes {
            let body = if records == 1 {
                small()
            } else {
                orders(records)
            };
            // What JSON.stringify gives is in the order of the program, not of the alphabet.
            let body = if sorted {
                canonicalize(body.as_bytes(), NumberMode::Exact)
                    .expect("a body is JSON")
                    .into_owned()
            } else {
                body.into_bytes()
            };
            let order = if sorted {
                "members sorted"
            } else {
                "as a program writes it"
            };
            let mut race = Race::new(format!("{name}, {order} ({} bytes)", body.len()));
            race.bytes(body.len());
            race.contender("serde_json_canonicalizer + sha2", || reference(&body));
            race.contender("idemp", || Fingerprint::of_json(&body));
            race.contender("idemp, canonical form alone", || {
                canonicalize(&body, NumberMode::Exact).map(|form| form.len())
            });
            race.contender("sha2 alone", || Sha256::digest(&body));
            race.run().print();
        }
    }
}

fn reference(body: &[u8]) -> [u8; 32] {
    let value: Value = serde_json::from_slice(body).expect("a body is JSON");
    let form = serde_json_canonicalizer::to_vec(&value).expect("a body has a canonical form");
    Sha256::digest(form).into()
}

/// The body of a create, as a page sends it.
fn small() -> String {
    concat!(
        r#"{"tenantId":"793ccc64-1f0e","video":"final cut 07.mp4","title":"Spring – teaser","#,
        r#""durationMs":184250,"fps":29.97,"notify":true,"callback":null}"#,
    )
    .to_owned()
}

/// A batch of orders and video tasks, with what such bodies hold: ids, amounts, times, addresses,
/// nested objects and lists, an escape here and there, text beyond ASCII.
fn orders(records: usize) -> String {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut body = String::from(r#"{"requestId":"req_2fc6dfe5","source":"web","tasks":["#);
    for number in 0..records {
        if number > 0 {
            body.push(',');
        }
        let id = random.next();
        let amount = random.below(500_000);
        match random.below(3) {
            0 => write!(
                body,
                r#"{{"orderId":"ord_{id:016x}","status":"{}","total":{}.{:02},"currency":"EUR","items":[{{"sku":"SKU-{}","qty":{},"price":{}.5}},{{"sku":"SKU-{}","qty":{},"price":{}}}],"giftNote":null}}"#,
                random.of(&["open", "paid", "shipped", "cancelled"]),
                amount / 100,
                amount % 90 + 1,
                random.below(99_999),
                random.below(12),
                random.below(300),
                random.below(999),
                random.below(3),
                random.below(80),
            ),
            1 => write!(
                body,
                r#"{{"taskId":"vt_{:08x}","file":"{}.mp4","createdAt":{},"progress":0.{},"settings":{{"width":1920,"height":1080,"codec":"h264","audio":{}}},"title":"{}"}}"#,
                id as u32,
                random.of(&["final", "teaser-07", "interview with the team", "übersicht"]),
                1_769_660_861_000 + random.below(9_999_999),
                random.below(98) + 1,
                random.of(&["true", "false"]),
                random.of(&["Launch", "A \\\"quoted\\\" title", "Zürich, Bahnhofstraße", "Line\\nbreak"]),
            ),
            _ => write!(
                body,
                r#"{{"user":{{"name":"{}","email":"user{}@example.com","address":{{"street":"{} Main Street","zip":"{:05}","city":"{}","geo":[{}.{:06},-{}.{:06}]}}}},"active":true,"score":{}}}"#,
                random.of(&["Ada Lovelace", "Grace Hopper", "José García", "王小明"]),
                random.below(100_000),
                random.below(999) + 1,
                random.below(99_999),
                random.of(&["Berlin", "Lyon", "San Francisco", "Oslo"]),
                random.below(90),
                random.below(99_999) * 10 + 1,
                random.below(180),
                random.below(99_999) * 10 + 7,
                random.below(1_000_000),
            ),
        }
        .expect("a string takes what it is given");
    }
    body.push_str(r#"],"dryRun":false}"#);
    body
}

/// The same bodies in each run (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }
}
