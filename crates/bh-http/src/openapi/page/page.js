// Makes the page from openapi.json. Everything is put in as text, never as markup.

import { resolve, schemaView, typeName } from "./schema.js";

const METHODS = ["get", "post", "put", "patch", "delete", "options"];

/** An element with attributes and children. */
export function element(name, attributes = {}, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Text in which `backticks` are code and empty lines end a paragraph. */
export function prose(text) {
  const paragraphs = text.split(/\n\n+/).map((paragraph) => {
    const parts = paragraph.split(/`([^`]+)`/);
    return element("p", {}, parts.map((part, index) => (index % 2 ? element("code", {}, [part]) : part)));
  });
  return element("div", {}, paragraphs);
}

function operations(api) {
  return Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ path, method, ...item[method] })),
  );
}

function keys(api, operation) {
  if (!operation.security?.length) return "No key.";
  const names = operation.security.flatMap((choice) => Object.keys(choice));
  const words = { tenantKey: "a tenant's key", adminKey: "an operator's key" };
  const plain = names.filter((name) => words[name]).map((name) => words[name]);
  return `Takes ${plain.join(" or ")}.`;
}

function curl(api, operation) {
  const lines = [`curl "$BULKHEAD_URL${operation.path}"`];
  if (operation.method !== "get") lines[0] += ` -X ${operation.method.toUpperCase()}`;
  const names = (operation.security ?? []).flatMap((choice) => Object.keys(choice));
  if (names.includes("adminKey")) lines.push('-H "Authorization: Bearer $BULKHEAD_ADMIN_KEY"');
  else if (names.includes("tenantKey")) lines.push('-H "Authorization: Bearer $BULKHEAD_KEY"');
  const schema = operation.requestBody?.content?.["application/json"]?.schema;
  if (schema) lines.push(`-H 'Content-Type: application/json' -d '${JSON.stringify(sample(api, schema))}'`);
  return lines.join(" \\\n  ");
}

/** A small value of a schema: what is required, and nothing else. */
function sample(api, schema, depth = 0) {
  const target = schema.$ref ? resolve(api, schema.$ref) : schema;
  if (target.examples?.length) return target.examples[0];
  if ("const" in target) return target.const;
  if (target.enum) return target.enum[0];
  const choices = target.anyOf ?? target.oneOf;
  if (choices) return sample(api, choices[0], depth + 1);
  const type = [target.type].flat()[0];
  if (type === "object" && depth < 4) {
    const names = Object.keys(target.properties ?? {}).filter((name) => target.required?.includes(name));
    return Object.fromEntries(names.map((name) => [name, sample(api, target.properties[name], depth + 1)]));
  }
  return { object: {}, array: [], integer: target.minimum ?? 1, number: 1, boolean: true }[type] ?? "…";
}

function parametersView(operation) {
  const list = element("dl");
  for (const parameter of operation.parameters ?? []) {
    const where = `${parameter.in}, ${typeName(parameter.schema)}${parameter.required ? ", required" : ""}`;
    list.append(element("dt", {}, [element("code", {}, [parameter.name]), element("span", { class: "faint" }, [` ${where}`])]));
    const told = element("dd", {}, [prose(parameter.description ?? "")]);
    if (parameter.schema.enum) told.append(element("div", { class: "faint" }, [parameter.schema.enum.join(", ")]));
    list.append(told);
  }
  return list;
}

function answerView(api, status, answer) {
  const target = answer.$ref ? resolve(api, answer.$ref) : answer;
  const title = [element("code", {}, [status]), " "];
  const text = prose(target.description).firstChild;
  const details = element("details", {}, [element("summary", {}, [...title, ...text.childNodes])]);
  const open = () => {
    for (const [name, header] of Object.entries(target.headers ?? {})) {
      const told = header.$ref ? resolve(api, header.$ref) : header;
      details.append(element("div", { class: "faint" }, [`${name}: ${told.description.replaceAll("`", "")}`]));
    }
    for (const [kind, { schema }] of Object.entries(target.content ?? {})) {
      details.append(element("p", {}, [element("code", {}, [kind]), ` ${typeName(schema)}`]), schemaView(api, schema));
    }
  };
  details.addEventListener("toggle", open, { once: true });
  return details;
}

function operationView(api, operation) {
  const planned = operation["x-bulkhead-status"] === "planned";
  const id = operation.operationId;
  const view = element("article", { id, class: planned ? "planned" : "", "aria-labelledby": `${id}-title` }, [
    element("h3", { id: `${id}-title` }, [operation.summary, " ", ...(planned ? [element("span", { class: "tag" }, ["planned"])] : [])]),
    element("p", { class: "route" }, [
      element("span", { class: `method ${operation.method}` }, [operation.method.toUpperCase()]),
      " ",
      element("a", { href: `#${id}` }, [operation.path]),
    ]),
  ]);
  if (operation.description) view.append(prose(operation.description));
  view.append(element("p", { class: "faint" }, [keys(api, operation)]));
  if (operation.parameters) view.append(element("h4", {}, ["Parameters"]), parametersView(operation));
  for (const [kind, { schema }] of Object.entries(operation.requestBody?.content ?? {})) {
    const may = operation.requestBody.required ? "" : ", may be left out";
    view.append(element("h4", {}, [`Body: ${kind}${may}`]));
    if (schema.description) view.append(prose(schema.description));
    view.append(schemaView(api, schema));
  }
  view.append(element("h4", {}, ["Answers"]));
  for (const [status, answer] of Object.entries(operation.responses)) view.append(answerView(api, status, answer));
  view.append(sampleView(api, operation));
  return view;
}

function sampleView(api, operation) {
  const text = curl(api, operation);
  const button = element("button", { type: "button" }, ["Copy"]);
  button.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(text);
    button.textContent = "Copied";
  });
  return element("details", {}, [element("summary", {}, ["Sample call"]), element("pre", { tabindex: "0" }, [text]), button]);
}

function chapterViews(api, all) {
  return api.tags.map((tag) => {
    const own = all.filter((operation) => operation.tags[0] === tag.name);
    const links = element("ul", {}, own.map((operation) =>
      element("li", { "data-of": operation.operationId }, [
        element("a", { href: `#${operation.operationId}`, title: operation.path }, [
          element("span", { class: `method ${operation.method}` }, [operation.method.toUpperCase()]),
          ` ${operation.summary}`,
        ]),
      ]),
    ));
    const inList = element("div", {}, [element("h2", {}, [tag.name]), links]);
    const section = element("section", {}, [element("h2", {}, [tag.name]), prose(tag.description), ...own.map((operation) => operationView(api, operation))]);
    return { inList, section };
  });
}

/** Shows what has every word of the filter. */
function filtered(all, chapters, words) {
  let count = 0;
  for (const operation of all) {
    const text = `${operation.method} ${operation.path} ${operation.operationId} ${operation.summary} ${operation.description ?? ""}`;
    const shown = words.every((word) => text.toLowerCase().includes(word));
    count += shown;
    document.getElementById(operation.operationId).hidden = !shown;
    document.querySelector(`[data-of="${operation.operationId}"]`).hidden = !shown;
  }
  for (const { inList, section } of chapters) {
    const empty = !section.querySelector("article:not([hidden])");
    inList.hidden = section.hidden = empty;
  }
  document.getElementById("found").textContent = words.length ? `${count} of ${all.length}` : `${all.length} operations`;
}

function start(api) {
  const all = operations(api);
  const chapters = chapterViews(api, all);
  document.title = `${api.info.title} API ${api.info.version}`;
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("list").append(...chapters.map(({ inList }) => inList));
  const head = [element("h1", {}, [`${api.info.title} API`]), prose(api.info.description)];
  document.getElementById("main").replaceChildren(...head, ...chapters.map(({ section }) => section));

  const filter = document.getElementById("filter");
  const apply = () => filtered(all, chapters, filter.value.toLowerCase().split(/\s+/).filter(Boolean));
  filter.addEventListener("input", apply);
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && document.activeElement !== filter) {
      event.preventDefault();
      filter.focus();
    }
  });
  apply();
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

try {
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`);
  start(await answer.json());
} catch (error) {
  document.getElementById("state").textContent = `The description cannot be shown: ${error.message}`;
}
