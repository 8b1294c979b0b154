//! The tables of questions: those that this node has asked, those that it answers, and the frames that
//! go to each. Must not know what is asked, nor stores.
//!
//! Nothing here waits: a frame that comes in finds its question, or is dropped with its credit.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::wire::{Content, End, Failure, Message, Question, WINDOW_PIECES};
use crate::{
    base::task::TaskGroup,
    cluster::{
        net::LinkHandle,
        proto::{LinkId, link::outcome::CloseReason},
    },
    metrics::names::QuestionMetrics,
    node::cluster::Traffic,
};

/// Questions that are answered at the same time: of one link, and in all. Each holds a page of records
/// and its pieces on their way, some hundred KiB.
const ANSWERS_PER_LINK_MAX: usize = 24;
const ANSWERS_MAX: usize = 128;

/// Short messages that may wait for room in their link.
const WORDS_OF_LINK_MAX: usize = 64;

/// Messages that may wait for an asker: the pieces of its window, and the end.
const INCOMING_MAX: usize = WINDOW_PIECES as usize + 1;

/// Questions of both directions.
#[derive(Debug)]
pub(super) struct Desk {
    tables: Mutex<Tables>,
    /// Holds what is left to be said when it could not be said at once.
    pub(super) tasks: TaskGroup,
    /// How much of that there is for each link.
    words: Arc<Mutex<HashMap<LinkId, usize>>>,
    pub(super) metrics: QuestionMetrics,
}

#[derive(Debug, Default)]
struct Tables {
    next_number: u64,
    asked: HashMap<(LinkId, u64), mpsc::Sender<Incoming>>,
    answers: HashMap<(LinkId, u64), Answering>,
}

/// What comes in for an asker.
#[derive(Debug)]
pub(super) enum Incoming {
    Piece(Bytes),
    End(End),
}

#[derive(Debug)]
struct Answering {
    /// Tells it from a later one with its number.
    serial: u64,
    cancelled: CancellationToken,
    room: Arc<Semaphore>,
}

/// A question of this node's in the table, until it is dropped.
#[derive(Debug)]
pub(super) struct AskedSlot {
    desk: Arc<Desk>,
    pub(super) link: LinkHandle,
    pub(super) number: u64,
    pub(super) incoming: mpsc::Receiver<Incoming>,
}

/// A question of another node's in the table, until it is dropped. The asker is told of the end in any
/// case.
#[derive(Debug)]
pub(super) struct AnswerSlot {
    desk: Arc<Desk>,
    pub(super) link: LinkHandle,
    number: u64,
    serial: u64,
    pub(super) cancelled: CancellationToken,
    /// Pieces that the asker has room for.
    pub(super) room: Arc<Semaphore>,
    is_ended: bool,
}

impl Desk {
    /// Empty tables.
    pub(super) fn new(tasks: TaskGroup, metrics: QuestionMetrics) -> Self {
        Self {
            tables: Mutex::default(),
            words: Arc::default(),
            tasks,
            metrics,
        }
    }

    /// A place for a question of this node's.
    pub(super) fn open(self: &Arc<Self>, link: &LinkHandle) -> AskedSlot {
        let (sender, incoming) = mpsc::channel(INCOMING_MAX);
        let mut tables = self.lock();
        let number = tables.next_number();
        tables.asked.insert((link.link(), number), sender);
        drop(tables);
        AskedSlot {
            desk: Arc::clone(self),
            link: link.clone(),
            number,
            incoming,
        }
    }

    /// Takes a frame that came in; a question that is to be answered.
    pub(super) fn take(self: &Arc<Self>, traffic: &Traffic) -> Option<(AnswerSlot, Question)> {
        let Some(message) = Message::read(traffic.frame.kind, &traffic.frame.payload) else {
            self.metrics.answered.inc("malformed");
            return None;
        };
        let place = (traffic.link.link(), message.number);
        match message.content {
            Content::Question(Some(question)) => {
                let slot = self.begin(&traffic.link, message.number)?;
                return Some((slot, question));
            }
            Content::Question(None) => {
                self.refuse(&traffic.link, message.number, Failure::NotUnderstood);
            }
            Content::Piece(piece) => self.hand_over(&traffic.link, place, Incoming::Piece(piece)),
            Content::End(end) => self.hand_over(&traffic.link, place, Incoming::End(end)),
            Content::Cancel => {
                if let Some(answering) = self.lock().answers.remove(&place) {
                    answering.cancelled.cancel();
                }
            }
            Content::More(n_pieces) => {
                if let Some(answering) = self.lock().answers.get(&place) {
                    let room = &answering.room;
                    let n_taken = (WINDOW_PIECES as usize).saturating_sub(room.available_permits());
                    room.add_permits(n_taken.min(n_pieces as usize));
                }
            }
        }
        None
    }

    fn begin(self: &Arc<Self>, link: &LinkHandle, number: u64) -> Option<AnswerSlot> {
        let mut tables = self.lock();
        let link_id = link.link();
        let n_of_link = tables
            .answers
            .keys()
            .filter(|(of, _)| *of == link_id)
            .count();
        let is_known = tables.answers.contains_key(&(link_id, number));
        if is_known || n_of_link >= ANSWERS_PER_LINK_MAX || tables.answers.len() >= ANSWERS_MAX {
            drop(tables);
            self.refuse(link, number, Failure::Busy);
            return None;
        }
        let answering = Answering {
            serial: tables.next_number(),
            cancelled: CancellationToken::new(),
            room: Arc::new(Semaphore::new(WINDOW_PIECES as usize)),
        };
        let slot = AnswerSlot {
            desk: Arc::clone(self),
            link: link.clone(),
            number,
            serial: answering.serial,
            cancelled: answering.cancelled.clone(),
            room: Arc::clone(&answering.room),
            is_ended: false,
        };
        tables.answers.insert((link_id, number), answering);
        Some(slot)
    }

    fn refuse(&self, link: &LinkHandle, number: u64, why: Failure) {
        self.metrics.answered.inc("refused");
        let content = Content::End(End::Failed(why));
        self.say(link, Message { number, content });
    }

    /// Gives an asker what came in for it. Who sends more than there is room for has broken the rule, and
    /// who sends what nobody asked for has not heard yet that it is not wanted any more.
    fn hand_over(&self, link: &LinkHandle, place: (LinkId, u64), incoming: Incoming) {
        let is_piece = matches!(incoming, Incoming::Piece(_));
        let mut tables = self.lock();
        let sent = tables
            .asked
            .get(&place)
            .map(|asked| asked.try_send(incoming));
        match sent {
            Some(Ok(())) => {}
            Some(Err(_)) => drop(tables.asked.remove(&place)),
            None if is_piece => {
                drop(tables);
                let (number, content) = (place.1, Content::Cancel);
                self.say(link, Message { number, content });
            }
            None => {}
        }
    }

    /// Sends a short message, at once or as soon as there is room for it. A node that has much to be told
    /// and hears nothing loses its link.
    fn say(&self, link: &LinkHandle, message: Message) {
        use crate::cluster::proto::link::outgoing::SendError;
        let (kind, payload) = message.encode();
        if link.send(kind, payload.clone()) == Err(SendError::Full) {
            let Some(place) = WordPlace::take(&self.words, link.link()) else {
                tracing::warn!(link = %link.link(), "too many words wait for a node that takes none; its link is closed");
                return link.close(CloseReason::NotReady);
            };
            let link = link.clone();
            let sending = async move {
                let _place = place;
                // A link that has closed needs no word.
                let _sent = link.send_when_room(kind, payload).await;
            };
            drop(self.tasks.spawn("question_word", sending));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a short message that waits for room in its link.
struct WordPlace {
    words: Arc<Mutex<HashMap<LinkId, usize>>>,
    link: LinkId,
}

impl WordPlace {
    fn take(words: &Arc<Mutex<HashMap<LinkId, usize>>>, link: LinkId) -> Option<Self> {
        let mut taken = words.lock().unwrap_or_else(PoisonError::into_inner);
        let n_words = taken.entry(link).or_default();
        if *n_words >= WORDS_OF_LINK_MAX {
            return None;
        }
        *n_words += 1;
        drop(taken);
        let words = Arc::clone(words);
        Some(Self { words, link })
    }
}

impl Drop for WordPlace {
    fn drop(&mut self) {
        let mut taken = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n_words) = taken.get_mut(&self.link) {
            *n_words -= 1;
            if *n_words == 0 {
                taken.remove(&self.link);
            }
        }
    }
}

impl Tables {
    const fn next_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

impl AskedSlot {
    /// Tells the other end that no more is wanted.
    pub(super) fn cancel(&self) {
        let content = Content::Cancel;
        let number = self.number;
        self.desk.say(&self.link, Message { number, content });
    }

    /// What is counted of questions.
    pub(super) fn metrics(&self) -> &QuestionMetrics {
        &self.desk.metrics
    }
}

impl Drop for AskedSlot {
    fn drop(&mut self) {
        let place = (self.link.link(), self.number);
        drop(self.desk.lock().asked.remove(&place));
    }
}

impl AnswerSlot {
    /// Sends a piece as soon as the asker and the link have room.
    pub(super) async fn send(&self, piece: Bytes) {
        // Never closed.
        if let Ok(room) = self.room.acquire().await {
            room.forget();
            self.send_in_room(piece).await;
        }
    }

    /// Shows that the answer is being worked on: sends `piece` if the asker has room, even if it is
    /// empty.
    pub(super) async fn give_sign(&self, piece: impl FnOnce() -> Bytes) {
        if let Ok(room) = self.room.try_acquire() {
            room.forget();
            self.send_in_room(piece()).await;
        }
    }

    async fn send_in_room(&self, piece: Bytes) {
        let (kind, payload) = self.message(Content::Piece(piece)).encode();
        // A link that has closed ends the answer anyway.
        let _sent = self.link.send_when_room(kind, payload).await;
    }

    /// Tells the asker how the answer ended.
    pub(super) fn end(mut self, end: End) {
        self.is_ended = true;
        let is_whole = matches!(end, End::Whole { .. });
        let outcome = if is_whole { "whole" } else { "failed" };
        self.desk.metrics.answered.inc(outcome);
        self.desk.say(&self.link, self.message(Content::End(end)));
    }

    /// Nobody waits for the end.
    pub(super) fn give_up(mut self) {
        self.is_ended = true;
        self.desk.metrics.answered.inc("cancelled");
    }

    const fn message(&self, content: Content) -> Message {
        Message {
            number: self.number,
            content,
        }
    }
}

impl Drop for AnswerSlot {
    fn drop(&mut self) {
        let place = (self.link.link(), self.number);
        let mut tables = self.desk.lock();
        if tables
            .answers
            .get(&place)
            .is_some_and(|one| one.serial == self.serial)
        {
            tables.answers.remove(&place);
        }
        drop(tables);
        if !self.is_ended {
            self.desk.metrics.answered.inc("failed");
            let end = Content::End(End::Failed(Failure::Store));
            self.desk.say(&self.link, self.message(end));
        }
    }
}
