//! Values under numbers.

use std::ops::{Index, IndexMut};

/// Values, each under the number that it was given when it came. The numbers of those that are gone are used
/// again. Values lie in large chunks that never move, so that no growth takes long.
#[derive(Debug, Clone)]
pub(super) struct Numbered<T> {
    /// Full but for the last one.
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
}

const CHUNK: usize = 1 << 10;

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Numbered { chunks: Vec::new(), free: Vec::new() }
    }
}

impl<T: Default> Numbered<T> {
    /// One more.
    ///
    /// # Panics
    /// There are 2^32 already, which no memory holds.
    pub(super) fn add(&mut self, value: T) -> u32 {
        if let Some(number) = self.free.pop() {
            self[number] = value;
            return number;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let chunk = self.chunks.last_mut().expect("one was pushed if there was none");
        chunk.push(value);
        u32::try_from(before + chunk.len() - 1).expect("fewer than 2^32 values")
    }

    /// One less. Its number is used again: it must not be taken twice.
    pub(super) fn take(&mut self, number: u32) -> T {
        self.free.push(number);
        std::mem::take(&mut self[number])
    }

    /// The value of a number; the default one, if it was taken.
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.chunks.get(number as usize / CHUNK)?.get(number as usize % CHUNK)
    }
}

impl<T> Index<u32> for Numbered<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }
}

impl<T> IndexMut<u32> for Numbered<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_moves_nothing_and_numbers_are_used_again() {
        let mut numbered = Numbered::default();
        let many = 3 * CHUNK as u32;
        for number in 0..many {
            assert_eq!(numbered.add(number), number);
        }
        for number in (0..many).step_by(2) {
            assert_eq!(numbered.take(number), number);
            assert_eq!(numbered.get(number), Some(&0));
        }
        let again: Vec<u32> = (0..many / 2).map(|_| numbered.add(7)).collect();
        assert!(again.iter().all(|number| number % 2 == 0 && numbered[*number] == 7));
        assert_eq!((numbered[1], numbered.chunks.len(), numbered.get(many)), (1, 3, None));
    }
}
