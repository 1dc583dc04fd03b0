// A real server on loopback that answers as it is told, request by request, and keeps what it was asked.
import { createServer } from "node:http";

export const KEY = "acme-secret-key-7d1c";

/** An answer in the envelope. */
export function enveloped(data, metadata = {}) {
  return { status: 200, body: { success: true, data, metadata: { requestId: "r-1", ...metadata } } };
}

/** A refusal in the envelope. */
export function refused(status, code, context, headers = {}) {
  const error = { code, message: `${code} it is`, context };
  return { status, headers, body: { success: false, error, metadata: { requestId: "r-2" } } };
}

/** 429 as the gateway words it. */
export function limited(retryAfter) {
  const headers = { "retry-after": String(retryAfter), "x-ratelimit-limit": "5", "x-ratelimit-remaining": "0" };
  const body = { success: false, error: "Rate limit exceeded", code: "RATE_LIMITED", message: "5 in 60 s", retryAfter };
  return { status: 429, headers, body };
}

/** Answers each request with the next of `script`, and all further ones with its last. "hang" never answers, "stall" stops in
// its body, "cut" breaks off. */
export async function misbehaving(t, ...script) {
  const requests = [];
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) {
      chunks.push(chunk);
    }
    const text = Buffer.concat(chunks).toString();
    const step = script[Math.min(requests.length, script.length - 1)];
    const { method, url, headers } = request;
    requests.push({ method, url, headers, at: performance.now(), body: text === "" ? undefined : JSON.parse(text) });
    answer(response, typeof step === "function" ? step(request) : step);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  t.after(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

function answer(response, step) {
  if (step === "hang") {
    return;
  }
  if (step === "cut" || step === "stall") {
    response.writeHead(200, { "content-type": "application/json", "content-length": "100" });
    response.write('{"success":');
    if (step === "cut") {
      response.socket.destroySoon();
    }
    return;
  }
  const { status, headers, body } = step;
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
}
