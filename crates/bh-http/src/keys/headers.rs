//! What every answer of the API-key server carries (Talos dossier §2.1): security headers, and the id of the request.

use axum::body::Body;
use http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use uuid::Uuid;

use crate::respond::REQUEST_ID;

const ROUTES: [&str; 2] = ["/v2alpha1/", "/.well-known/jwks.json"];
/// A longer request id is replaced by one of ours.
const REQUEST_ID_BYTES_MAX: usize = 128;

const SECURITY: [(HeaderName, HeaderValue); 5] = [
    (STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
];

/// The headers of one answer.
pub(crate) struct ApiHeaders {
    request_id: HeaderValue,
}

impl ApiHeaders {
    /// What the answer to this request carries; `None` where other doors answer.
    pub(crate) fn of(request: &Request<Body>) -> Option<Self> {
        let path = request.uri().path();
        ROUTES.iter().any(|route| path.starts_with(route)).then(|| Self::for_request(request.headers()))
    }

    /// The same, whatever the route.
    pub(crate) fn for_request(headers: &HeaderMap) -> Self {
        Self { request_id: request_id(headers) }
    }

    /// The id of the request.
    pub(crate) fn request_id(&self) -> Option<&str> {
        self.request_id.to_str().ok()
    }

    /// Writes them.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.request_id);
        for (name, value) in SECURITY {
            headers.insert(name, value);
        }
    }
}

/// The caller's own id, so that its log and ours can be laid side by side; a fresh one where it is none to repeat.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let mut given = headers.get_all(REQUEST_ID).iter();
    let own = given.next().filter(|id| (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.to_str().is_ok());
    if let (Some(own), None) = (own, given.next()) {
        return own.clone();
    }
    let mut text = Uuid::encode_buffer();
    let fresh = Uuid::new_v4().hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(fresh).unwrap_or(HeaderValue::from_static("unknown"))
}
