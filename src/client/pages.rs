//! Lists that a node gives in pages, as one iterator.

use std::collections::BTreeSet;

use super::{Client, ClientError, PositionJson, answers::PageJson, push_parameter};

/// Positions, asked for page by page as they are taken; ends after the first error.
#[derive(Debug)]
pub struct Positions {
    client: Client,
    /// The question without `after`.
    path: String,
    page: std::vec::IntoIter<PositionJson>,
    next: Next,
    missing: BTreeSet<String>,
}

/// What to ask for when the page is used up.
#[derive(Debug)]
enum Next {
    First,
    After(String),
    Nothing,
}

impl Positions {
    pub(super) fn new(client: Client, path: String) -> Self {
        Self {
            client,
            path,
            page: Vec::new().into_iter(),
            next: Next::First,
            missing: BTreeSet::new(),
        }
    }

    /// Names of storing nodes that could not be asked, so far: their positions may be left out.
    pub const fn missing(&self) -> &BTreeSet<String> {
        &self.missing
    }

    fn turn(&mut self) -> Result<(), ClientError> {
        let before = std::mem::replace(&mut self.next, Next::Nothing);
        let mut path = self.path.clone();
        match &before {
            Next::First => {}
            Next::After(after) => push_parameter(&mut path, "after", after),
            Next::Nothing => return Ok(()),
        }
        let page: PageJson = self.client.json(&path)?;
        if matches!((&before, &page.next), (Next::After(before), Some(next)) if before == next) {
            let cause = "a page names itself as the next one".to_owned();
            return Err(self.client.not_understood(cause));
        }
        self.next = page.next.map_or(Next::Nothing, Next::After);
        self.missing.extend(page.missing);
        self.page = page.positions.into_iter();
        Ok(())
    }
}

impl Iterator for Positions {
    type Item = Result<PositionJson, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(position) = self.page.next() {
                return Some(Ok(position));
            }
            if matches!(self.next, Next::Nothing) {
                return None;
            }
            if let Err(error) = self.turn() {
                return Some(Err(error));
            }
        }
    }
}
