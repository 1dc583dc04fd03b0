//! The inner listener of an edge proxy: health and metrics. The outer one has neither of its own.

use std::net::IpAddr;

use axum::body::Body;
use axum::response::Response;
use bh_app::edge::EdgeStory;
use bh_domain::refusal::{Code, Refusal};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode};
use serde_json::json;

use crate::respond::{self, Dialect};
use crate::serve::Answers;

/// The inner listener of an edge proxy.
#[derive(Clone, Debug)]
pub struct EdgeInside(EdgeStory);

impl EdgeInside {
    /// Health and metrics of this proxy.
    #[must_use]
    pub fn new(story: EdgeStory) -> Self {
        Self(story)
    }

    async fn answered(&self, method: &Method, path: &str) -> Result<Response, Refusal> {
        if ![Method::GET, Method::HEAD].contains(method) {
            return Err(Refusal::new(Code::MethodNotAllowed, "This route does not take this method"));
        }
        match path {
            "/health/alive" => respond::json(&json!({"status": "ok"})),
            "/health/ready" if self.0.upstream_lives().await => respond::json(&json!({"status": "ok"})),
            "/health/ready" => {
                let told = json!({"status": "unavailable", "reason": "the key server does not answer"});
                respond::json_with(StatusCode::SERVICE_UNAVAILABLE, &told)
            }
            "/metrics" => {
                let mut response = Response::new(Body::from(self.0.metrics().render()));
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
                Ok(response)
            }
            _ => Err(Refusal::new(Code::NotFound, "No such route")),
        }
    }
}

impl Answers for EdgeInside {
    async fn answer(&self, request: Request<Body>, _: IpAddr) -> Response {
        let (parts, _) = request.into_parts();
        let answer = self.answered(&parts.method, parts.uri.path()).await;
        answer.unwrap_or_else(|refusal| respond::refusal(&refusal, Dialect::Aip193, "", self.0.clock().now()))
    }
}
