//! Many callers instead of one.

use std::cell::Cell;

/// Keys to send in turn, each request another one.
pub struct Keys {
    all: Vec<Vec<u8>>,
    next: Cell<usize>,
    /// Where the key stands in the request.
    at: usize,
}

impl Keys {
    /// One key a line; all of one length, so that each request costs the same to make.
    pub fn read(path: &str) -> Vec<Vec<u8>> {
        let text = std::fs::read_to_string(path).expect("the keys file");
        let all: Vec<Vec<u8>> =
            text.lines().filter(|l| !l.is_empty()).map(|l| l.as_bytes().to_vec()).collect();
        assert!(!all.is_empty() && all.iter().all(|k| k.len() == all[0].len()), "keys of one length");
        all
    }

    /// Writes the next key into a request.
    pub fn rotate(&self, req: &mut [u8]) {
        let key = &self.all[self.next.get() % self.all.len()];
        self.next.set(self.next.get() + 1);
        req[self.at..self.at + key.len()].copy_from_slice(key);
    }

    /// Keys that stand at `at` in a request.
    pub fn at(all: Vec<Vec<u8>>, at: usize) -> Self {
        Self { all, next: Cell::new(0), at }
    }

    /// How many different keys were sent.
    pub fn used(&self) -> usize {
        self.next.get().min(self.all.len())
    }
}
