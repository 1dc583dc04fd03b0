//! Embeddings in OpenAI's wire: a vector made of the text's digest, so that equal texts have equal vectors.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use super::reply::tokens;
use super::{Answer, Rejection};

const DIMENSIONS_DEFAULT: u64 = 32;
const DIMENSIONS_MAX: u64 = 3_072;
/// Inputs of one request, as OpenAI has it.
const INPUTS_MAX: usize = 2_048;

/// `POST /v1/embeddings`: one vector per input.
pub(super) fn embed(body: &Value) -> Result<Answer, Rejection> {
    let model = body["model"].as_str().ok_or_else(|| Rejection::bad_request("`model` must name a model"))?;
    let inputs = inputs(&body["input"])?;
    let dimensions = body["dimensions"].as_u64().unwrap_or(DIMENSIONS_DEFAULT);
    if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
        return Err(Rejection::bad_request(format!("`dimensions` must be between 1 and {DIMENSIONS_MAX}")));
    }
    let as_base64 = body["encoding_format"] == "base64";
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let vector = vector(text, usize::try_from(dimensions).unwrap_or(1));
            let embedding = if as_base64 { json!(base64_of(&vector)) } else { json!(vector) };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let used: u64 = inputs.iter().map(|text| tokens(text)).sum();
    let usage = json!({"prompt_tokens": used, "total_tokens": used});
    let answer = json!({"object": "list", "data": data, "model": format!("demo-{model}"), "usage": usage});
    Ok(Answer::Json(StatusCode::OK, answer))
}

/// One text, several, one list of token ids, or several.
fn inputs(input: &Value) -> Result<Vec<String>, Rejection> {
    let text_of = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
    let texts: Vec<String> = match input {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) if items.iter().all(Value::is_number) && !items.is_empty() => {
            vec![input.to_string()]
        }
        Value::Array(items) => items.iter().map(text_of).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    };
    if texts.is_empty() || texts.len() > INPUTS_MAX {
        return Err(Rejection::bad_request(format!("`input` must hold 1 to {INPUTS_MAX} texts")));
    }
    Ok(texts)
}

/// Numbers between -1 and 1, from the digest of the text and a counter.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let block = |counter: u64| {
        let bytes = digest(&SHA256, format!("{counter}:{text}").as_bytes());
        bytes.as_ref().iter().map(|byte| f32::from(i16::from(*byte) - 128) / 128.0).collect::<Vec<_>>()
    };
    (0..).flat_map(block).take(dimensions).collect()
}

/// The SDKs' default encoding: four little-endian bytes per number.
fn base64_of(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}
