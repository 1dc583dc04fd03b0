//! Requests that changed nothing and are on the trail all the same: refused, in vain, or only read by an operator.
//!
//! The first of a kind is written at once; of those that follow within a minute the last is written when the minute is over,
//! with the number of the others. A kind is a tenant, a door, an outcome and whoever is known to have asked, so that what a
//! stranger can have written in a minute is bounded by [`STRANGE_KINDS_MAX`].

use std::collections::HashMap;
use std::time::Duration;

use bh_domain::keys::key::JsonObject;
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::trail::NOBODY;
use crate::ports::AuditEvent;

/// Kinds of requests by strangers that a minute tells apart; those of more doors are told together.
pub const STRANGE_KINDS_MAX: usize = 300;
/// Kinds with a minute under way; more are not told of, and counted.
const KINDS_MAX: usize = 65_536;
const MINUTE_NS: u64 = Duration::from_secs(60).as_nanos() as u64;
/// The door of all requests whose own is not told.
const OTHER_DOORS: &str = "other";

/// A request that changed nothing.
#[derive(Clone, Debug)]
pub struct RequestNote {
    /// Whose trail it belongs to.
    pub nid: Nid,
    /// What it is called there: [`bh_domain::audit::REQUEST_DENIED`] and the like.
    pub action: &'static str,
    /// The method.
    pub method: &'static str,
    /// The path of the route, with `{parameters}`.
    pub route: &'static str,
    /// The status that was answered.
    pub status: u16,
    /// Why it was refused.
    pub code: Option<&'static str>,
    /// What it was about.
    pub object: String,
    /// Who sent it; `None` for whom nobody knows.
    pub actor: Option<String>,
    /// As what.
    pub role: &'static str,
    /// Where it came from.
    pub origin: JsonObject,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    nid: Nid,
    method: &'static str,
    route: &'static str,
    status: u16,
    code: Option<&'static str>,
    actor: Option<String>,
}

#[derive(Debug)]
struct Minute {
    begun_ns: u64,
    /// The last one that was not written, and how many more there were.
    last: Option<(RequestNote, Timestamp, u64)>,
}

/// Minutes under way.
#[derive(Debug, Default)]
pub(super) struct Requests {
    kinds: HashMap<Kind, Minute>,
    strange: usize,
}

/// What is to be written now.
#[derive(Debug)]
pub(super) enum Taken {
    /// These, oldest first.
    Write(Vec<(Nid, AuditEvent)>),
    /// There is no room to count it.
    Dropped,
}

impl Requests {
    /// Takes a request.
    pub(super) fn take(&mut self, mut note: RequestNote, now_ns: u64, at: Timestamp) -> Taken {
        let mut kind = kind_of(&note);
        let mut write = Vec::new();
        if self.kinds.get(&kind).is_some_and(|minute| is_over(minute, now_ns)) {
            write.extend(self.end(&kind));
        }
        if note.actor.is_none() && !self.kinds.contains_key(&kind) && self.strange >= STRANGE_KINDS_MAX {
            (note.route, note.method) = (OTHER_DOORS, "");
            kind = kind_of(&note);
        }
        if let Some(minute) = self.kinds.get_mut(&kind) {
            let others = minute.last.as_ref().map_or(0, |(_, _, others)| others + 1);
            minute.last = Some((note, at, others));
        } else if self.kinds.len() < KINDS_MAX {
            self.strange += usize::from(kind.actor.is_none());
            self.kinds.insert(kind, Minute { begun_ns: now_ns, last: None });
            write.push(event(note, at, 0));
        } else {
            return Taken::Dropped;
        }
        Taken::Write(write)
    }

    /// Ends minutes; what is still to be written of them.
    pub(super) fn end_all(&mut self, now_ns: Option<u64>) -> Vec<(Nid, AuditEvent)> {
        let over = |minute: &Minute| now_ns.is_none_or(|now_ns| is_over(minute, now_ns));
        let over: Vec<Kind> =
            self.kinds.iter().filter(|(_, minute)| over(minute)).map(|(kind, _)| kind.clone()).collect();
        over.iter().filter_map(|kind| self.end(kind)).collect()
    }

    fn end(&mut self, kind: &Kind) -> Option<(Nid, AuditEvent)> {
        let minute = self.kinds.remove(kind)?;
        self.strange -= usize::from(kind.actor.is_none());
        minute.last.map(|(note, at, others)| event(note, at, others))
    }
}

fn kind_of(note: &RequestNote) -> Kind {
    let RequestNote { nid, method, route, status, code, actor, .. } = note;
    Kind { nid: *nid, method, route, status: *status, code: *code, actor: actor.clone() }
}

fn is_over(minute: &Minute, now_ns: u64) -> bool {
    now_ns.saturating_sub(minute.begun_ns) >= MINUTE_NS
}

/// The id is of the moment in which the event is queued, so that readers in order of ids do not miss it.
fn event(note: RequestNote, at: Timestamp, left_out: u64) -> (Nid, AuditEvent) {
    let RequestNote { nid, action, method, route, status, code, object, actor, role, origin } = note;
    let mut detail = json!({ "method": method, "route": route, "status": status, "left_out": left_out });
    if let Some(code) = code {
        detail["code"] = code.into();
    }
    let event = AuditEvent {
        id: Uuid::now_v7(),
        at,
        action: action.to_owned(),
        object,
        actor: actor.unwrap_or_else(|| NOBODY.to_owned()),
        role: role.to_owned(),
        before_digest: None,
        after_digest: None,
        detail: JsonObject::parse(detail.to_string()).unwrap_or_default(),
        origin,
        told: None,
    };
    (nid, event)
}

#[cfg(test)]
mod tests {
    use bh_domain::audit::REQUEST_DENIED;

    use super::*;

    fn note(route: &'static str, actor: Option<&str>) -> RequestNote {
        RequestNote {
            nid: Nid::SYSTEM,
            action: REQUEST_DENIED,
            method: "GET",
            route,
            status: 401,
            code: Some("unauthorized"),
            object: String::new(),
            actor: actor.map(str::to_owned),
            role: "client",
            origin: JsonObject::default(),
        }
    }

    fn written(taken: Taken) -> Vec<AuditEvent> {
        match taken {
            Taken::Write(events) => events.into_iter().map(|(_, event)| event).collect(),
            Taken::Dropped => panic!("there is room"),
        }
    }

    fn left_out(event: &AuditEvent) -> u64 {
        let detail: serde_json::Value = serde_json::from_str(event.detail.as_str()).unwrap();
        detail["left_out"].as_u64().unwrap()
    }

    #[test]
    fn any_number_of_one_kind_are_two_events_a_minute_and_counted_exactly() {
        let mut requests = Requests::default();
        let mut events = Vec::new();
        for n in 0..10_000 {
            events.extend(written(requests.take(note("/a", None), 5 + n, Timestamp(1))));
        }
        assert_eq!(events.len(), 1, "the first at once");
        events.extend(requests.end_all(Some(5 + MINUTE_NS)).into_iter().map(|(_, event)| event));
        assert_eq!(events.iter().map(|event| 1 + left_out(event)).collect::<Vec<_>>(), [1, 9_999]);
        assert!(requests.kinds.is_empty() && requests.strange == 0);
        assert_eq!(
            written(requests.take(note("/a", None), 9 + MINUTE_NS, Timestamp(1))).len(),
            1,
            "a new minute"
        );
    }

    #[test]
    fn doors_and_actors_are_told_apart_until_strangers_try_too_many() {
        let mut requests = Requests::default();
        for (route, actor) in [("/a", None), ("/b", None), ("/a", Some("ops")), ("/a", Some("eyes"))] {
            assert_eq!(written(requests.take(note(route, actor), 0, Timestamp(1))).len(), 1);
            assert_eq!(written(requests.take(note(route, actor), 0, Timestamp(1))).len(), 0);
        }
        let mut told = 0;
        for status in 0..1_000 {
            told += written(requests.take(RequestNote { status, ..note("/c", None) }, 1, Timestamp(1))).len();
        }
        assert!(told <= 1_000 && requests.strange >= STRANGE_KINDS_MAX);
        let told = written(requests.take(note("/d", Some("ops")), 1, Timestamp(1)));
        assert_eq!(told.len(), 1, "who is known is told of all the same");
    }
}
