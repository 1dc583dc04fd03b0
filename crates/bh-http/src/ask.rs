//! What a control-plane handler gets: the authenticated sender, the parameters, and the stories.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use bh_app::audit::{AuditReads, AuditTrail, Provenance};
use bh_app::costs::CostReads;
use bh_app::evidence::EvidenceReads;
use bh_app::hosts::Host;
use bh_app::identity::{Gate, Principal};
use bh_app::keyless::KeylessCalls;
use bh_app::keys::KeyStory;
use bh_app::llm::LlmStory;
use bh_app::metrics::Metrics;
use bh_app::ports::{Clock, Store};
use bh_app::recorder::Recorder;
use bh_app::snapshot::{Live, Snapshot};
use bh_app::status::StatusReads;
use bh_app::tenants::TenantStory;
use bh_app::tools::ToolStory;
use bh_app::usage::{UsageReads, Verifications};
use bh_app::vault::Vault;
use bh_app::webhooks::{PeriodCloser, WebhookReads};
use bh_domain::refusal::{Code, Refusal};
use bytes::Bytes;
use http::Uri;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::matrix::Row;
use crate::object::Object;

/// Everything the doors open onto. Built once, by the assembly.
#[derive(Clone)]
pub struct Doors {
    /// The configuration in force.
    pub live: Live,
    /// Who is calling.
    pub gate: Gate,
    /// LLM calls.
    pub llm: LlmStory,
    /// API keys.
    pub keys: KeyStory,
    /// Tenants, administered.
    pub tenants: TenantStory,
    /// Who did what, read back.
    pub audit: AuditReads,
    /// Calls without a key, counted.
    pub keyless: KeylessCalls,
    /// What is told of it beside changes.
    pub trail: AuditTrail,
    /// Evidence, read back.
    pub evidence: EvidenceReads,
    /// What was spent and what is left.
    pub costs: CostReads,
    /// Tools, and the servers that have them.
    pub tools: ToolStory,
    /// What was used and what that comes to.
    pub usage: UsageReads,
    /// Counts verifications of keys for it.
    pub verifications: Verifications,
    /// How a tenant is doing.
    pub status: StatusReads,
    /// What tenants have entrusted to Bulkhead.
    pub vault: Vault,
    /// What webhooks were told.
    pub webhooks: WebhookReads,
    /// The ends of billing periods.
    pub periods: PeriodCloser,
    /// The evidence writer: health for `/readyz`.
    pub recorder: Recorder,
    /// Reads.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What `/readyz` says about the configuration: `None` while the one on disk is in force.
    pub config_fault: Arc<arc_swap::ArcSwapOption<String>>,
    /// When the process started.
    pub started_ns: u64,
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doors").finish_non_exhaustive()
    }
}

/// The largest body of a control-plane request.
const CONTROL_BODY_BYTES_MAX: usize = 1024 * 1024;

/// How a NUL character is written in a URL. The accept loop lets none through as it is.
const NUL_IN_URL: &str = "%00";
/// How a NUL character is written in JSON, which has no other way.
const NUL_IN_JSON: &[u8] = br"\u0000";

/// One authenticated control-plane request.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) doors: Arc<Doors>,
    pub(crate) snapshot: Arc<Snapshot>,
    /// Names the request in answers and logs.
    pub(crate) request_id: String,
    /// Who asks; `None` on open routes.
    pub(crate) principal: Option<Principal>,
    /// Where it came from and what it asks for, for the trail.
    pub(crate) origin: Arc<Provenance>,
    /// Where it is addressed to.
    pub(crate) host: Host,
    /// The peer's address.
    pub(crate) peer: IpAddr,
    pub(crate) parts: Parts,
    pub(crate) path: Vec<(String, String)>,
    pub(crate) body: Body,
}

impl Ask {
    /// The client's address, as far as proxies in front are believed.
    pub(crate) fn client_ip(&self) -> IpAddr {
        self.snapshot.client_address(self.peer, &self.parts.headers)
    }

    /// Refuses what is switched off for the asker's tenant.
    pub(crate) fn allowed(&self, row: &Row) -> Result<(), Refusal> {
        let feature = row.feature(self.path("rest"));
        match (feature, &self.principal) {
            (Some(feature), Some(Principal::Caller(caller))) => caller.tenant.allows(feature),
            (Some(_), Some(Principal::Operator(_)) | None) | (None, _) => Ok(()),
        }
    }

    /// The path parameter `name`, percent-decoded; empty when the route has none.
    pub(crate) fn path(&self, name: &str) -> &str {
        self.path.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }

    /// The query parameters. A parameter given twice is refused rather than guessed.
    pub(crate) fn query(&self) -> Result<Query, Refusal> {
        let mut values = HashMap::new();
        for (name, value) in form_urlencoded::parse(self.parts.uri.query().unwrap_or("").as_bytes()) {
            if values.insert(name.to_string(), value.to_string()).is_some() {
                return Err(Refusal::new(
                    Code::InvalidRequest,
                    format!("The query parameter `{name}` is given twice"),
                ));
            }
        }
        Ok(Query(values))
    }

    /// Reads the body, bounded.
    pub(crate) async fn bytes(&mut self, bytes_max: usize) -> Result<Bytes, Refusal> {
        let body = std::mem::take(&mut self.body);
        match Limited::new(body, bytes_max).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(Refusal::new(Code::RequestTooLarge, format!("The body is larger than {bytes_max} bytes")))
            }
            Err(_) => Err(Refusal::new(Code::InvalidRequest, "The body broke off before its end")),
        }
    }

    /// Reads the body, a JSON object; an empty body is an empty object.
    pub(crate) async fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Refusal> {
        self.json_within(CONTROL_BODY_BYTES_MAX).await
    }

    /// As [`Ask::json`], for bodies of another size.
    pub(crate) async fn json_within<T: serde::de::DeserializeOwned>(
        &mut self,
        bytes_max: usize,
    ) -> Result<T, Refusal> {
        let bytes = self.whole(bytes_max).await?;
        self.origin.asked(bytes.clone());
        object(&bytes)
    }

    /// As [`Ask::json`], for bodies that hold secrets, in whichever place: the trail is told none of it.
    pub(crate) async fn secret_json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Refusal> {
        let bytes = self.whole(CONTROL_BODY_BYTES_MAX).await?;
        // What is wrong with it would be told with a part of it.
        let unreadable =
            || Refusal::new(Code::InvalidRequest, "The body is not a JSON object as it is described");
        object(&bytes).map_err(|_| unreadable())
    }

    async fn whole(&mut self, bytes_max: usize) -> Result<Bytes, Refusal> {
        let bytes = self.bytes(bytes_max).await?;
        if bytes.windows(NUL_IN_JSON.len()).any(|part| part == NUL_IN_JSON) {
            return Err(nul("body"));
        }
        Ok(bytes)
    }

    /// As [`Ask::json`], for bodies of which the story tells the trail itself.
    pub(crate) async fn untold_json<T: serde::de::DeserializeOwned>(
        &mut self,
        bytes_max: usize,
    ) -> Result<T, Refusal> {
        object(&self.whole(bytes_max).await?)
    }

    /// As [`Ask::json`], for texts that are only compared and hashed: these may hold anything.
    pub(crate) async fn json_of_any_text<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Refusal> {
        object(&self.bytes(CONTROL_BODY_BYTES_MAX).await?)
    }
}

fn object<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let text: &[u8] = if bytes.iter().all(u8::is_ascii_whitespace) { b"{}" } else { bytes };
    let read = serde_json::from_slice::<Object<T>>(text).map(|Object(read)| read);
    read.map_err(|error| Refusal::new(Code::InvalidRequest, format!("The body is not as expected: {error}")))
}

/// Query parameters, each given at most once.
#[derive(Debug)]
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A whole number within bounds.
    pub(crate) fn number(&self, name: &str, default: u32, max: u32) -> Result<u32, Refusal> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let number = text.parse::<u32>().ok().filter(|n| (1..=max).contains(n));
        number.ok_or_else(|| invalid(name, text, &format!("a whole number from 1 to {max}")))
    }

    /// An instant: RFC 3339 or a date.
    pub(crate) fn instant(&self, name: &str) -> Result<Option<bh_domain::time::Timestamp>, Refusal> {
        let parse = |text| bh_domain::time::Timestamp::parse(text);
        self.text(name).map(parse).transpose().map_err(|error| {
            Refusal::new(
                Code::InvalidRequest,
                format!("The query parameter `{name}` cannot be read: {error}"),
            )
        })
    }

    /// `true`, `false`, `1` or `0`.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.text(name) {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(invalid(name, other, "true, false, 1 or 0")),
        }
    }
}

pub(crate) fn invalid(name: &str, value: &str, wanted: &str) -> Refusal {
    Refusal::new(
        Code::InvalidRequest,
        format!("The query parameter `{name}` is `{value}`; it must be {wanted}"),
    )
}

/// No name holds a NUL character, and PostgreSQL takes none in a parameter: a question with one is refused before it
/// gets there.
pub(crate) fn without_nul(uri: &Uri) -> Result<(), Refusal> {
    let found = uri.path_and_query().is_some_and(|text| text.as_str().contains(NUL_IN_URL));
    if found { Err(nul("URL")) } else { Ok(()) }
}

fn nul(place: &str) -> Refusal {
    let message = format!("The {place} holds a NUL character, which no name here has: leave it out");
    Refusal::new(Code::InvalidRequest, message)
}
