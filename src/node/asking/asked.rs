//! A question on its way to one other node, and the answer as it comes in. Must not know what becomes of
//! the records, nor who else is asked.

use std::time::Duration;

use tokio::time::timeout_at;

use super::{
    desk::{AskedSlot, Incoming},
    pieces::{Joiner, NoRecord},
    wire::{Content, End, Failure, Message, Question, WINDOW_PIECES},
};
use crate::{base::time::Instant, cluster::net::LinkHandle, types::record::Record};

/// After which a node that had too much to answer is asked again; it doubles a few times.
const BUSY_DELAY: Duration = Duration::from_millis(20);
const BUSY_DOUBLINGS: u32 = 4;

/// How long an answer is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the first word.
    pub(super) first: Option<Duration>,
    /// For the next word, while one is waited for.
    pub(super) next: Option<Duration>,
    /// For all of it.
    pub(super) until: Option<Instant>,
}

/// A question and its answer; no more is wanted when it is dropped.
#[derive(Debug)]
pub(super) struct Asked {
    slot: AskedSlot,
    question: Question,
    joiner: Joiner,
    patience: Patience,
    since: Instant,
    /// Whether the question has found no room in the link yet.
    is_unsent: bool,
    has_heard: bool,
    /// Pieces taken that the other end has not been told of.
    n_taken: u32,
    /// How often the other end had too much to answer.
    n_busy: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing comes any more, and the other end knows it.
    Over,
}

/// What came in.
#[derive(Debug, PartialEq)]
pub(super) enum Got {
    /// Further records, one at least.
    Records(Vec<Record>),
    /// The answer is whole.
    Whole { is_connected: bool },
}

/// Why nothing more comes of an answer that is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lost {
    /// It said nothing for too long.
    #[error("it did not answer in time")]
    TimedOut,
    /// The link to it is gone, or it broke the rules.
    #[error("the link to it is gone")]
    Gone,
    /// It says so itself.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// See there.
    #[error(transparent)]
    NoRecord(#[from] NoRecord),
}

impl Asked {
    /// Asks at once if the link has room, else with the first [`next`](Self::next).
    pub(super) fn ask(slot: AskedSlot, question: Question, patience: Patience) -> Self {
        let mut asked = Self {
            slot,
            question,
            joiner: Joiner::default(),
            patience,
            since: Instant::now(),
            is_unsent: false,
            has_heard: false,
            n_taken: 0,
            n_busy: 0,
            state: State::Open,
        };
        asked.send_question();
        asked
    }

    /// Asks anew over another link, where nothing was heard over the one before.
    pub(super) fn ask_again(&mut self, slot: AskedSlot) {
        self.slot = slot;
        self.send_question();
    }

    /// Asks again over the same link in a moment, where the other end had too much to answer. Whoever is
    /// asked for long enough is lost all the same.
    pub(super) async fn ask_later(&mut self, slot: AskedSlot) {
        if self.n_busy == 0 {
            // It may have said so long ago.
            self.since = Instant::now();
        }
        let delay = BUSY_DELAY * (1 << self.n_busy.min(BUSY_DOUBLINGS));
        self.n_busy += 1;
        tokio::time::sleep(delay).await;
        self.has_heard = false;
        self.state = State::Open;
        self.ask_again(slot);
    }

    /// Whether nothing was heard yet.
    pub(super) const fn is_unheard(&self) -> bool {
        !self.has_heard
    }

    /// The link that it was asked over.
    pub(super) const fn link(&self) -> &LinkHandle {
        &self.slot.link
    }

    fn send_question(&mut self) {
        let content = Content::Question(Some(self.question.clone()));
        let (kind, payload) = self.message(content).encode();
        self.is_unsent = self.slot.link.send(kind, payload).is_err();
    }

    /// Waits for what comes next. Not to be called again after the end.
    pub(super) async fn next(&mut self) -> Result<Got, Lost> {
        let outcome = self.wait().await;
        let metrics = &self.slot.metrics().asked;
        match &outcome {
            // The one is not the end, and after the other it is asked again.
            Ok(Got::Records(_)) | Err(Lost::Failed(Failure::Busy)) => {}
            Ok(Got::Whole { .. }) => metrics.inc("whole"),
            Err(Lost::TimedOut) => metrics.inc("timed_out"),
            Err(Lost::Gone) => metrics.inc("lost"),
            Err(Lost::Failed(_) | Lost::NoRecord(_)) => metrics.inc("failed"),
        }
        outcome
    }

    async fn wait(&mut self) -> Result<Got, Lost> {
        loop {
            let deadline = self.deadline();
            let word = async {
                self.say_what_is_due().await?;
                self.hear().await
            };
            let incoming = match deadline {
                Some(deadline) => timeout_at(deadline.to_tokio(), word)
                    .await
                    .unwrap_or(Err(Lost::TimedOut))?,
                None => word.await?,
            };
            self.has_heard = true;
            match incoming {
                Incoming::Piece(piece) => {
                    self.n_taken += 1;
                    let records = self.joiner.push(&piece)?;
                    if !records.is_empty() {
                        return Ok(Got::Records(records));
                    }
                }
                Incoming::End(end) => {
                    self.state = State::Over;
                    return match end {
                        End::Whole { is_connected } if self.joiner.is_at_end() => {
                            Ok(Got::Whole { is_connected })
                        }
                        End::Whole { .. } => Err(NoRecord.into()),
                        End::Failed(why) => Err(why.into()),
                    };
                }
            }
        }
    }

    /// Until when the next word is waited for.
    fn deadline(&self) -> Option<Instant> {
        let next = if self.has_heard {
            self.patience.next.map(|patience| Instant::now() + patience)
        } else {
            self.patience.first.map(|patience| self.since + patience)
        };
        match (next, self.patience.until) {
            (Some(next), Some(until)) => Some(next.min(until)),
            (next, until) => next.or(until),
        }
    }

    /// Asks if that was not possible before, and says that there is room again.
    async fn say_what_is_due(&mut self) -> Result<(), Lost> {
        if self.is_unsent {
            let content = Content::Question(Some(self.question.clone()));
            self.say(content).await?;
            self.is_unsent = false;
        }
        if self.n_taken * 2 >= WINDOW_PIECES {
            self.say(Content::More(self.n_taken)).await?;
            self.n_taken = 0;
        }
        Ok(())
    }

    async fn say(&self, content: Content) -> Result<(), Lost> {
        let (kind, payload) = self.message(content).encode();
        let sent = self.slot.link.send_when_room(kind, payload).await;
        sent.map_err(|_| Lost::Gone)
    }

    /// What has come in counts before the end of the link.
    async fn hear(&mut self) -> Result<Incoming, Lost> {
        let AskedSlot { link, incoming, .. } = &mut self.slot;
        tokio::select! {
            biased;
            incoming = incoming.recv() => incoming.ok_or(Lost::Gone),
            () = link.closed() => Err(Lost::Gone),
        }
    }

    const fn message(&self, content: Content) -> Message {
        Message {
            number: self.slot.number,
            content,
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.state == State::Open && !self.is_unsent && !self.slot.link.is_closed() {
            self.slot.cancel();
        }
    }
}
