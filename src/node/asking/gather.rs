//! One question asked of this node's store and of other nodes at once, and the answers merged as they
//! come in. Must not know what the records are for.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    asked::{Asked, Got, Lost},
    desk::Desk,
    whom::Whom,
    wire::Failure,
};
use crate::{
    api::AnswerError,
    cluster::net::LinkHandle,
    delivery::merge::{Merge, Next, Order, Sourced},
    node::{
        cluster::Neighbourhood,
        reading::{IndexReader, Reading},
    },
    types::record::Record,
};

/// A question under way.
#[derive(Debug)]
pub(super) struct Gathering {
    merge: Merge,
    sources: Vec<Source>,
    links: Links,
    /// Whether a storing member that is lost ends it.
    is_strict: bool,
    /// Names of storing members that were lost.
    pub(super) missing: Vec<String>,
    /// Name of a member that the vehicle is connected to, where that was asked.
    pub(super) connected_to: Option<String>,
}

/// Who gives records.
#[derive(Debug)]
pub(super) enum Source {
    /// The store of this node.
    Own(OwnSource),
    /// Another node; the question is gone when it has ended.
    Member(Whom, Option<Asked>),
}

/// The store of this node, read page by page.
#[derive(Debug)]
pub(super) struct OwnSource {
    reader: IndexReader,
    /// What is still to be read.
    reading: Option<Reading>,
    is_caught_up: bool,
}

/// The links as they are now.
#[derive(Debug, Clone)]
pub(super) struct Links {
    pub(super) desk: Arc<Desk>,
    pub(super) neighbourhood: watch::Receiver<Arc<Neighbourhood>>,
}

impl Links {
    /// Asks a member again that another link leads to by now, if it has said nothing yet: of two links to
    /// a member one is closed.
    fn ask_again(&self, whom: &Whom, asked: &mut Asked) -> bool {
        let neighbourhood = Arc::clone(&self.neighbourhood.borrow());
        let neighbour = neighbourhood.linked.get(&whom.id);
        let is_other = |link: &LinkHandle| link.link() != asked.link().link() && !link.is_closed();
        let other = neighbour.map(|neighbour| &neighbour.link);
        let other = other.filter(|link| asked.is_unheard() && is_other(link));
        if let Some(link) = other {
            asked.ask_again(self.desk.open(link));
        }
        other.is_some()
    }
}

/// What a source gave.
enum Given {
    Records(Vec<Record>),
    End,
}

impl Gathering {
    /// Gathers from sources that were all asked already.
    pub(super) fn new(order: Order, sources: Vec<Source>, links: Links) -> Self {
        Self {
            links,
            merge: Merge::new(order, sources.len()),
            sources,
            is_strict: false,
            missing: Vec::new(),
            connected_to: None,
        }
    }

    /// Waits until each source has given something, or is missing.
    pub(super) async fn begin(&mut self) -> Result<(), AnswerError> {
        for number in 0..self.sources.len() {
            while !self.feed(number).await? {}
        }
        Ok(())
    }

    /// From now on a storing member that is lost is an error.
    pub(super) const fn be_strict(&mut self) {
        self.is_strict = true;
    }

    /// The member that is source `number`.
    pub(super) fn member(&self, number: usize) -> Option<&Whom> {
        match self.sources.get(number) {
            Some(Source::Member(whom, _)) => Some(whom),
            _ => None,
        }
    }

    /// Puts the next records that belong together into `group`; false at the end.
    pub(super) async fn next(&mut self, group: &mut Vec<Sourced>) -> Result<bool, AnswerError> {
        loop {
            match self.merge.next(group) {
                Next::Group => return Ok(true),
                Next::Over => return Ok(false),
                Next::Wants(number) => {
                    self.feed(number).await?;
                }
            }
        }
    }

    /// Waits for what a source gives next; false if it had to be asked again.
    async fn feed(&mut self, number: usize) -> Result<bool, AnswerError> {
        let given = match self.sources.get_mut(number) {
            None | Some(Source::Member(_, None)) => Given::End,
            Some(Source::Own(own)) => own.next().await?,
            Some(Source::Member(whom, Some(asked))) => match asked.next().await {
                Err(Lost::Gone) if self.links.ask_again(whom, asked) => return Ok(false),
                Err(Lost::Failed(Failure::Busy)) => {
                    let slot = self.links.desk.open(asked.link());
                    asked.ask_later(slot).await;
                    return Ok(false);
                }
                Ok(Got::Records(records)) => Given::Records(records),
                Ok(Got::Whole { is_connected }) => {
                    self.note_whole(number, is_connected);
                    Given::End
                }
                Err(lost) => return self.lose(number, &lost).map(|()| true),
            },
        };
        match given {
            Given::End => self.merge.end(number),
            Given::Records(records) => {
                if let Err(disorder) = self.merge.push(number, records) {
                    self.lose(number, &disorder)?;
                }
            }
        }
        Ok(true)
    }

    fn note_whole(&mut self, number: usize, is_connected: bool) {
        if let Some(Source::Member(whom, asked)) = self.sources.get_mut(number) {
            *asked = None;
            if is_connected && self.connected_to.is_none() {
                self.connected_to = Some(whom.name.clone());
            }
        }
    }

    /// Goes on without a source, or says why that cannot be.
    fn lose(
        &mut self,
        number: usize,
        why: &(dyn std::error::Error + 'static),
    ) -> Result<(), AnswerError> {
        self.merge.end(number);
        let Some(Source::Member(whom, asked)) = self.sources.get_mut(number) else {
            return Err(AnswerError::Store);
        };
        *asked = None;
        tracing::debug!(node = %whom.name, why, "a node did not answer a question");
        if !whom.is_store {
            return Ok(());
        }
        if self.is_strict {
            return Err(AnswerError::PartLost(whom.name.clone()));
        }
        self.missing.push(whom.name.clone());
        Ok(())
    }
}

impl OwnSource {
    /// Reads `reading` of this node's store.
    pub(super) const fn new(reader: IndexReader, reading: Reading) -> Self {
        Self {
            reader,
            reading: Some(reading),
            is_caught_up: false,
        }
    }

    async fn next(&mut self) -> Result<Given, AnswerError> {
        if !self.is_caught_up {
            self.reader.index().await?;
            self.is_caught_up = true;
        }
        let Some(mut reading) = self.reading.take() else {
            return Ok(Given::End);
        };
        let step = self.reader.ask_now(move |index| {
            let page = reading.next_page(index)?;
            Ok((reading, page))
        });
        let (left, page) = step.await?;
        self.reading = page.is_some().then_some(left);
        Ok(page.map_or(Given::End, Given::Records))
    }
}
