//! Answers one question of another node: reads page by page, sends piece by piece. Must not know who
//! else is asked, nor what becomes of the records.
//!
//! Memory: a page of records and less than two pieces of an answer; what is on its way lies in the
//! link. A slow asker holds up nothing but its own answer.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use tokio::{sync::broadcast::error::RecvError, time::timeout};

use super::{
    desk::AnswerSlot,
    pieces::Cutter,
    wire::{End, Failure, Part, Question},
};
use crate::{
    api::AnswerError,
    base::time::Instant,
    node::{
        reading::{IndexReader, Reading},
        status::StatusSource,
    },
    store::index::{RangeQuery, ScanQuery},
    types::{ids::VehicleId, record::Record},
};

/// Silence after which a sign of life is sent.
const SIGN_INTERVAL: Duration = Duration::from_secs(1);

/// What answers are made from; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    pub(super) reader: IndexReader,
    pub(super) status: Arc<StatusSource>,
}

/// Answers until the end, or until nobody waits for it any more.
pub(super) async fn answer(slot: AnswerSlot, question: Question, sources: Sources) {
    let (link, cancelled) = (slot.link.clone(), slot.cancelled.clone());
    let mut answer = Answer {
        slot,
        cutter: Cutter::default(),
        said_at: Instant::now(),
    };
    let end = tokio::select! {
        biased;
        () = cancelled.cancelled() => None,
        () = link.closed() => None,
        end = answer.run(question, &sources) => Some(end),
    };
    match end {
        Some(end) => answer.slot.end(end),
        None => answer.slot.give_up(),
    }
}

struct Answer {
    slot: AnswerSlot,
    cutter: Cutter,
    /// When something was sent last.
    said_at: Instant,
}

impl Answer {
    async fn run(&mut self, question: Question, sources: &Sources) -> End {
        let connection = match &question {
            Question::Last(vehicle) => Some(vehicle.clone()),
            _ => None,
        };
        let outcome = match reading_of(question) {
            Some(reading) => self.read(reading, &sources.reader).await,
            None => self.follow(&sources.reader).await,
        };
        match outcome {
            Ok(()) => End::Whole {
                is_connected: connection.is_some_and(|vehicle| is_connected(&vehicle, sources)),
            },
            Err(why) => End::Failed(why),
        }
    }

    /// Gives all that there is to read.
    async fn read(&mut self, mut reading: Reading, reader: &IndexReader) -> Result<(), Failure> {
        self.while_alive(reader.index()).await.map_err(why)?;
        loop {
            let step = reader.ask_now(move |index| {
                let page = reading.next_page(index)?;
                Ok((reading, page))
            });
            let (left, page) = self.while_alive(step).await.map_err(why)?;
            reading = left;
            let Some(page) = page else { break };
            for record in &page {
                self.push(record).await;
            }
            // One page after the other may hold nothing that is asked for.
            if Instant::now().since(self.said_at) >= SIGN_INTERVAL {
                self.give_sign().await;
            }
        }
        self.send_rest().await;
        Ok(())
    }

    /// Gives live positions for as long as they can be sent as fast as they come.
    async fn follow(&mut self, reader: &IndexReader) -> Result<(), Failure> {
        let mut live = reader.store().live();
        loop {
            match live.recv().await {
                Ok(batch) => {
                    for record in batch.iter() {
                        self.push(record).await;
                    }
                    self.send_rest().await;
                }
                Err(RecvError::Lagged(_)) => return Err(Failure::Lagged),
                Err(RecvError::Closed) => return Err(Failure::Store),
            }
        }
    }

    async fn push(&mut self, record: &Record) {
        self.cutter.push(record);
        while let Some(piece) = self.cutter.take_full() {
            self.slot.send(piece).await;
            self.said_at = Instant::now();
        }
    }

    async fn send_rest(&mut self) {
        if let Some(piece) = self.cutter.take_rest() {
            self.slot.send(piece).await;
        }
    }

    /// Shows that it is being worked on, with what there is to send.
    async fn give_sign(&mut self) {
        let cutter = &mut self.cutter;
        let piece = || cutter.take_rest().unwrap_or_default();
        self.slot.give_sign(piece).await;
        self.said_at = Instant::now();
    }

    /// Waits for `work` and gives signs of life meanwhile.
    async fn while_alive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            if let Ok(done) = timeout(SIGN_INTERVAL, &mut work).await {
                return done;
            }
            self.give_sign().await;
        }
    }
}

fn is_connected(vehicle: &VehicleId, sources: &Sources) -> bool {
    sources.status.connected_to(vehicle).is_some()
}

fn why(error: AnswerError) -> Failure {
    match error {
        AnswerError::Behind => Failure::Behind,
        _ => Failure::Store,
    }
}

/// How a question is read from the index; `None` for one that is not.
pub(super) fn reading_of(question: Question) -> Option<Reading> {
    let n = |limit: Option<u32>| limit.map_or(usize::MAX, |limit| limit as usize);
    Some(match question {
        Question::Last(vehicle) => Reading::Last(Some(vehicle)),
        Question::Vehicles { after, limit } => Reading::Vehicles {
            after,
            n_left: n(limit),
        },
        Question::Track {
            vehicle,
            part: Part { kind, from, to },
            after,
            limit,
        } => {
            let query = RangeQuery {
                vehicle,
                kind,
                from,
                to,
                after,
            };
            let n_left = n(limit);
            Reading::Track { query, n_left }
        }
        Question::Export(Part { kind, from, to }) => Reading::Export(Some(ScanQuery {
            kind,
            from,
            to,
            after: None,
        })),
        Question::Live => return None,
    })
}
