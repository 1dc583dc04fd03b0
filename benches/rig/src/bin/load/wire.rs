//! What is asked.

/// The request body, in the wire that the path asks for.
pub fn body(path: &str, model: &str, prompt: &str, stream: bool) -> serde_json::Value {
    let messages = serde_json::json!([{"role": "user", "content": prompt}]);
    let mut body = if path.ends_with("/responses") {
        serde_json::json!({"model": model, "input": prompt, "max_output_tokens": 128})
    } else if path.ends_with("/messages") {
        serde_json::json!({"model": model, "messages": messages, "max_tokens": 128})
    } else {
        let mut body = serde_json::json!({"model": model, "messages": [{"role": "system", "content": "You are a helpful assistant."}, messages[0]], "max_tokens": 128, "temperature": 0.2});
        if stream {
            body["stream_options"] = serde_json::json!({"include_usage": true});
        }
        body
    };
    if stream {
        body["stream"] = true.into();
    }
    body
}
