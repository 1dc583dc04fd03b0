//! What to do with a demo that stays up: lines to paste.

use super::{Keys, Stage};

/// The program's name when the operating system does not tell how it was called.
const PROGRAM: &str = "bulkhead";

/// Lines to paste into a shell, Python or Node, with this demo's keys and addresses in them.
pub(super) fn guide(stage: &Stage, public_key: &str) -> String {
    let url = format!("http://{}", stage.gateway);
    let program = std::env::args().next().unwrap_or_else(|| PROGRAM.to_owned());
    [keys(&url, &stage.keys), curl(), sdks(), proof(&program, public_key), END.to_owned()].concat()
}

const END: &str = "\nServing until Ctrl-C.\n";

fn keys(url: &str, keys: &Keys) -> String {
    let Keys { acme, globex, admin } = keys;
    format!(
        "\nTry it. In a shell:\n
  export BULKHEAD={url}
  export ACME_KEY={acme}    # tenant acme
  export GLOBEX_KEY={globex}  # tenant globex
  export ADMIN_KEY={admin}   # the operator\n"
    )
}

fn curl() -> String {
    r#"
  curl -s $BULKHEAD/v1/proxy/openai/v1/chat/completions -H "Authorization: Bearer $ACME_KEY" \
    -H 'Content-Type: application/json' \
    -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}'

  curl -sN $BULKHEAD/v1/proxy/anthropic/v1/messages -H "x-api-key: $GLOBEX_KEY" \
    -H 'Content-Type: application/json' -H 'anthropic-version: 2023-06-01' \
    -d '{"model":"claude-haiku-4-5","max_tokens":200,"stream":true,"messages":[{"role":"user","content":"Hello"}]}'

  curl -s "$BULKHEAD/v1/evidence?limit=5" -H "Authorization: Bearer $ACME_KEY"
  curl -s "$BULKHEAD/v1/costs/report?tenant_id=*" -H "X-Talon-Admin-Key: $ADMIN_KEY"
"#
    .to_owned()
}

fn sdks() -> String {
    r#"
In Python (pip install openai anthropic):

  import os
  from openai import OpenAI
  from anthropic import Anthropic
  url = os.environ["BULKHEAD"]
  openai = OpenAI(base_url=url + "/v1/proxy/openai/v1", api_key=os.environ["ACME_KEY"])
  chat = openai.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}])
  print(chat.choices[0].message.content)
  anthropic = Anthropic(base_url=url + "/v1/proxy/anthropic", api_key=os.environ["GLOBEX_KEY"])
  with anthropic.messages.stream(
      model="claude-haiku-4-5", max_tokens=200, messages=[{"role": "user", "content": "Hello"}]
  ) as stream:
      for text in stream.text_stream:
          print(text, end="", flush=True)

In Node (npm install openai @anthropic-ai/sdk):

  import OpenAI from "openai";
  import Anthropic from "@anthropic-ai/sdk";
  const { BULKHEAD, ACME_KEY, GLOBEX_KEY } = process.env;
  const openai = new OpenAI({ baseURL: BULKHEAD + "/v1/proxy/openai/v1", apiKey: ACME_KEY });
  const messages = [{ role: "user", content: "Hello" }];
  const chat = await openai.chat.completions.create({ model: "gpt-4o-mini", messages });
  console.log(chat.choices[0].message.content);
  const anthropic = new Anthropic({ baseURL: BULKHEAD + "/v1/proxy/anthropic", apiKey: GLOBEX_KEY });
  const message = await anthropic.messages.create({ model: "claude-haiku-4-5", max_tokens: 200, messages });
  console.log(message.content[0].text);
"#
    .to_owned()
}

fn proof(program: &str, public_key: &str) -> String {
    format!(
        r#"
Take acme's evidence away and verify it without the gateway, its store or any secret:

  curl -s $BULKHEAD/v1/evidence/export -H "Authorization: Bearer $ACME_KEY" \
    -H 'Content-Type: application/json' -d '{{"format":"signed-json"}}' -o acme-evidence.json
  {program} audit verify --file acme-evidence.json --public-key '{public_key}'
"#
    )
}
