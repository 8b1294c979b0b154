//! Bytes as a list of choices, for targets whose inputs are deeds rather than texts.

/// Takes choices from the front of an input. Behind its end every choice is 0, so that each input is
/// one, and a shorter one means less.
#[derive(Debug)]
pub(crate) struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) const fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// One byte.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// A number of two bytes.
    pub(crate) fn number(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    /// A number of eight bytes.
    pub(crate) fn long(&mut self) -> u64 {
        u64::from_le_bytes([(); 8].map(|()| self.byte()))
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let chosen = if bound <= 256 {
            usize::from(self.byte())
        } else {
            self.number()
        };
        chosen % bound
    }

    /// The next `n_bytes`, or what is left.
    pub(crate) fn bytes(&mut self, n_bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n_bytes.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// All that is left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }
}
