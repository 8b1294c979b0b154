//! Questions between nodes: any node answers for the whole cluster.
#![doc = include_str!("asking.md")]

mod answering;
mod asked;
mod desk;
mod gather;
mod live;
mod pieces;
#[cfg(test)]
mod tests;
mod whom;
mod wire;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use self::{
    answering::{Sources, answer, reading_of},
    asked::{Asked, Patience},
    desk::Desk,
    gather::{Gathering, Links, OwnSource, Source},
    live::LiveHub,
    whom::{Reach, Whom, reach},
    wire::{Part, Question},
};
use super::{
    cluster::{ClusterHandle, Neighbourhood, Traffic},
    reading::IndexReader,
    status::StatusSource,
};
use crate::{
    api::{AnswerError, ExportQuestion},
    base::{
        task::{TaskGroup, keep_running},
        time::Instant,
    },
    delivery::merge::{Newest, Order, Sourced, first_copy, last_of, newest},
    metrics::names::QuestionMetrics,
    types::{
        ids::VehicleId,
        record::{Kind, Record},
        time::UnixMillis,
    },
};

pub(super) use self::live::LiveFeed;

/// How long a member has for its first word.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);

/// How long a member has for its next word, while that is waited for.
const NEXT_PATIENCE: Duration = Duration::from_secs(10);

/// Positions of one vehicle with one fix time among which the last is looked for.
const TIED_MAX: usize = 10_000;

/// How long an answer that is one page may take in all: less than its asker waits.
const PAGE_PATIENCE: Duration = Duration::from_secs(9);

/// Asks other nodes, and answers them; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    desk: Arc<Desk>,
    cluster: ClusterHandle,
    sources: Sources,
    hub: Arc<LiveHub>,
    tasks: TaskGroup,
}

/// Where questions to other nodes and from them meet the rest of the node.
pub(super) struct AskingParts {
    pub(super) cluster: ClusterHandle,
    pub(super) reader: IndexReader,
    pub(super) status: Arc<StatusSource>,
    pub(super) metrics: QuestionMetrics,
}

/// What is asked of all nodes, page by page.
#[derive(Debug)]
pub(super) enum PageQuestion {
    /// See [`Question::Vehicles`].
    Vehicles {
        after: Option<VehicleId>,
        limit: Option<usize>,
    },
    /// See [`Question::Track`].
    Track {
        vehicle: VehicleId,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
        after: Option<(UnixMillis, u64)>,
        limit: usize,
    },
}

/// One record after the other, of the whole cluster.
#[derive(Debug)]
pub(super) struct Stream {
    asking: Asking,
    gathering: Gathering,
    order: Order,
    group: Vec<Sourced>,
    neighbourhood: Arc<Neighbourhood>,
    until: Option<Instant>,
    /// Names of storing members that could not be asked.
    away: Vec<String>,
}

/// Where the other nodes are at one moment.
pub(super) struct Around {
    reach: Reach,
    neighbourhood: Arc<Neighbourhood>,
}

impl Around {
    /// Whether there is nobody to ask.
    pub(super) const fn is_alone(&self) -> bool {
        self.reach.linked.is_empty()
    }

    /// Names of storing members that cannot be asked.
    pub(super) fn missing(&self) -> Vec<String> {
        self.reach.missing.clone()
    }
}

impl Asking {
    /// Begins to answer what comes in by `questions`, in tasks of `tasks` that end with `stop`.
    pub(super) fn start(
        parts: AskingParts,
        questions: mpsc::Receiver<Traffic>,
        tasks: &TaskGroup,
        stop: &CancellationToken,
    ) -> Self {
        let asking = Self {
            desk: Arc::new(Desk::new(tasks.clone(), parts.metrics)),
            hub: Arc::new(LiveHub::new()),
            tasks: tasks.clone(),
            sources: Sources {
                reader: parts.reader,
                status: parts.status,
            },
            cluster: parts.cluster,
        };
        let metrics = asking.sources.status.task_metrics().clone();
        let (sorter, questions) = (asking.clone(), Arc::new(Mutex::new(questions)));
        let sorting = keep_running(
            move || sorter.clone().sort(Arc::clone(&questions)),
            move || metrics.panics.inc("questions"),
        );
        let metrics = asking.sources.status.task_metrics().clone();
        let listener = asking.clone();
        let listening = keep_running(
            move || {
                let neighbourhood = listener.cluster.neighbourhood();
                let desk = Arc::clone(&listener.desk);
                Arc::clone(&listener.hub).run(desk, neighbourhood)
            },
            move || metrics.panics.inc("questions"),
        );
        let (stop_sorting, stop_listening) = (stop.clone(), stop.clone());
        let sorting = async move { stop_sorting.run_until_cancelled_owned(sorting).await };
        let listening = async move { stop_listening.run_until_cancelled_owned(listening).await };
        // The handles are not needed: the group awaits the tasks.
        drop(tasks.spawn("questions", sorting));
        drop(tasks.spawn("live", listening));
        asking
    }

    /// Gives each frame that comes in to its question.
    async fn sort(self, questions: Arc<Mutex<mpsc::Receiver<Traffic>>>) {
        let mut questions = questions.lock().await;
        while let Some(traffic) = questions.recv().await {
            if let Some((slot, question)) = self.desk.take(&traffic) {
                let answering = answer(slot, question, self.sources.clone());
                // The handle is not needed: the asker is told of the end, whatever it is.
                drop(self.tasks.spawn("answer", answering));
            }
        }
    }

    /// Live positions of this node and of all others.
    pub(super) fn listen(&self) -> LiveFeed {
        self.hub.listen(self.sources.reader.store().live())
    }

    /// The other nodes now.
    pub(super) async fn around(&self) -> Result<Around, AnswerError> {
        let neighbourhood = Arc::clone(&self.cluster.neighbourhood().borrow());
        let known = self.cluster.members().await;
        let known = known.map_err(|_| AnswerError::NoCluster)?;
        let linked: BTreeSet<_> = neighbourhood.linked.keys().copied().collect();
        Ok(Around {
            reach: reach(&known.members, &linked),
            neighbourhood,
        })
    }

    /// The last position of a vehicle, and the other node that it is connected to.
    pub(super) async fn last(
        &self,
        around: Around,
        vehicle: VehicleId,
    ) -> Result<(Option<Record>, Option<String>, Vec<String>), AnswerError> {
        let until = Instant::now() + PAGE_PATIENCE;
        let question = Question::Last(vehicle);
        let whom = around.reach.linked.clone();
        let mut stream = self.stream(around, whom, (question, Order::Vehicle), Some(until));
        let position = stream.next().await?;
        // What comes behind it are the ends, which say where the vehicle is connected.
        stream.next().await?;
        let connected_to = stream.gathering.connected_to.take();
        Ok((position, connected_to, stream.into_missing()))
    }

    /// The items of a page, one by one.
    pub(super) fn page(&self, around: Around, question: PageQuestion) -> Stream {
        let until = Instant::now() + PAGE_PATIENCE;
        let n = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
        let asked = match question {
            PageQuestion::Vehicles { after, limit } => {
                let limit = limit.map(n);
                (Question::Vehicles { after, limit }, Order::Vehicle)
            }
            PageQuestion::Track {
                vehicle,
                from,
                to,
                after,
                limit,
            } => {
                let kind = Kind::Position;
                let track = Question::Track {
                    vehicle,
                    part: Part { kind, from, to },
                    after,
                    limit: Some(n(limit)),
                };
                (track, Order::Key)
            }
        };
        let whom = storing(&around);
        self.stream(around, whom, asked, Some(until))
    }

    /// All records that are asked for, once every storing member has said that it will give them.
    ///
    /// # Errors
    /// [`AnswerError::Missing`] when one is missing, unless that is allowed.
    pub(super) async fn export(
        &self,
        around: Around,
        question: ExportQuestion,
    ) -> Result<Stream, AnswerError> {
        let is_partial = question.is_partial;
        let part = Part {
            kind: question.kind,
            from: question.from,
            to: question.to,
        };
        let asked = match question.vehicle {
            Some(vehicle) => Question::Track {
                vehicle,
                part,
                after: None,
                limit: None,
            },
            None => Question::Export(part),
        };
        let whom = storing(&around);
        let mut stream = self.stream(around, whom, (asked, Order::Key), None);
        stream.gathering.begin().await?;
        let missing = stream.missing();
        if !is_partial && !missing.is_empty() {
            return Err(AnswerError::Missing(missing));
        }
        stream.gathering.be_strict();
        Ok(stream)
    }

    /// Asks the members `whom` and this node's own store.
    fn stream(
        &self,
        around: Around,
        whom: Vec<Whom>,
        (question, order): (Question, Order),
        until: Option<Instant>,
    ) -> Stream {
        let neighbourhood = around.neighbourhood;
        let mut sources = self.ask(&neighbourhood, whom, &question, until);
        sources.extend(self.own(question));
        Stream {
            asking: self.clone(),
            gathering: Gathering::new(order, sources, self.links()),
            order,
            group: Vec::new(),
            neighbourhood,
            until,
            away: around.reach.missing,
        }
    }

    fn ask(
        &self,
        neighbourhood: &Neighbourhood,
        whom: Vec<Whom>,
        question: &Question,
        until: Option<Instant>,
    ) -> Vec<Source> {
        let patience = Patience {
            first: Some(FIRST_PATIENCE),
            next: Some(NEXT_PATIENCE),
            until,
        };
        let asked = whom.into_iter().map(|whom| {
            let neighbour = neighbourhood.linked.get(&whom.id);
            let asked = neighbour.map(|neighbour| {
                Asked::ask(self.desk.open(&neighbour.link), question.clone(), patience)
            });
            Source::Member(whom, asked)
        });
        asked.collect()
    }

    fn links(&self) -> Links {
        Links {
            desk: Arc::clone(&self.desk),
            neighbourhood: self.cluster.neighbourhood(),
        }
    }

    fn own(&self, question: Question) -> Option<Source> {
        let reading = reading_of(question)?;
        let own = OwnSource::new(self.sources.reader.clone(), reading);
        Some(Source::Own(own))
    }
}

fn storing(around: &Around) -> Vec<Whom> {
    let linked = around.reach.linked.iter();
    linked.filter(|whom| whom.is_store).cloned().collect()
}

impl Stream {
    /// The next record; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Record>, AnswerError> {
        while self.gathering.next(&mut self.group).await? {
            if self.order == Order::Key {
                return Ok(first_copy(&mut self.group));
            }
            let found = match newest(&mut self.group) {
                Some(Newest::Tied {
                    vehicle,
                    time,
                    sources,
                }) => self.settle(vehicle, time, &sources).await?,
                Some(Newest::Sure(record)) => Some(record),
                None => None,
            };
            // What has become too old meanwhile is not the end of the others.
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The last of all positions that `sources` have of one vehicle and time.
    async fn settle(
        &mut self,
        vehicle: VehicleId,
        time: UnixMillis,
        sources: &[usize],
    ) -> Result<Option<Record>, AnswerError> {
        let question = Question::Track {
            vehicle,
            part: Part {
                kind: Kind::Position,
                from: Some(time),
                to: time.0.checked_add(1).map(UnixMillis),
            },
            after: None,
            limit: None,
        };
        let members = sources.iter().map(|number| self.gathering.member(*number));
        let is_own_asked = members.clone().any(|member| member.is_none());
        let whom = members.flatten().cloned().collect();
        let asking = self.asking.clone();
        let mut asked = asking.ask(&self.neighbourhood, whom, &question, self.until);
        if is_own_asked {
            asked.extend(asking.own(question));
        }
        let (mut gathering, mut group) = (
            Gathering::new(Order::Key, asked, asking.links()),
            Vec::new(),
        );
        let (mut best, mut n_looked) = (None, 0);
        while n_looked < TIED_MAX && gathering.next(&mut group).await? {
            n_looked += 1;
            best = last_of(best.into_iter().chain(first_copy(&mut group)));
        }
        // Of those who could not be asked again counts what they said at first, and so it does of all
        // where not everything was looked at.
        let is_short = n_looked == TIED_MAX;
        let heard = std::mem::take(&mut self.group).into_iter();
        let heard = heard.filter(|(number, record)| {
            let whom = self.gathering.member(*number);
            let is_lost = whom.is_some_and(|whom| gathering.missing.contains(&whom.name));
            let is_known = |best: &Record| best.key == record.key;
            (is_lost || is_short) && !best.as_ref().is_some_and(is_known)
        });
        let heard: Vec<Record> = heard.map(|(_, record)| record).collect();
        self.gathering.missing.append(&mut gathering.missing);
        Ok(last_of(best.into_iter().chain(heard)))
    }

    /// Names of the storing members that are missing so far, in order.
    pub(super) fn missing(&self) -> Vec<String> {
        let lost = self.gathering.missing.iter().cloned();
        let missing: BTreeSet<String> = self.away.iter().cloned().chain(lost).collect();
        missing.into_iter().collect()
    }

    /// The same, at the end.
    pub(super) fn into_missing(self) -> Vec<String> {
        self.missing()
    }
}
