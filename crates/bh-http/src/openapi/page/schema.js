// Schemas as nested lists. What refers to itself is opened when it is asked for, so that nothing is endless.

import { element, prose } from "./page.js";

/** What `#/a/b` leads to. */
export function resolve(document, reference) {
  return reference.slice(2).split("/").reduce((at, name) => at?.[name.replaceAll("~1", "/").replaceAll("~0", "~")], document);
}

/** The name of a schema's type, in a few words. */
export function typeName(schema) {
  if (schema === true || schema === undefined) return "anything";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if ("const" in schema) return JSON.stringify(schema.const);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.map(typeName).join(" or ");
  if (schema.allOf) return schema.allOf.map(typeName).join(" and ");
  if (schema.type === "array") return `list of ${typeName(schema.items)}`;
  const types = [schema.type ?? (schema.enum ? "" : "anything")].flat().filter(Boolean);
  return [...types, schema.format && `(${schema.format})`].filter(Boolean).join(" or ").replace(" or (", " (");
}

/** The parts of a schema that have members: itself, what it refers to, its choices, its items. */
function parts(document, schema) {
  if (schema === true || !schema) return [];
  const choices = [...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])];
  if (schema.$ref) return parts(document, resolve(document, schema.$ref)).length ? [schema] : [];
  if (schema.items) return parts(document, schema.items);
  const own = schema.properties ? [schema] : [];
  return [...own, ...choices.flatMap((choice) => parts(document, choice))];
}

function limits(schema) {
  const told = [];
  if (schema.enum && schema.enum.length <= 12) told.push(`one of ${schema.enum.map((word) => JSON.stringify(word)).join(", ")}`);
  if ("minimum" in schema && schema.minimum !== 0) told.push(`from ${schema.minimum}`);
  if ("maximum" in schema) told.push(`up to ${schema.maximum}`);
  if (schema.pattern) told.push(`matches ${schema.pattern}`);
  if (schema.default !== null && ["string", "number", "boolean"].includes(typeof schema.default)) told.push(`${JSON.stringify(schema.default)} unless given`);
  return told.join("; ");
}

/** A schema: its members, each with its own. */
export function schemaView(document, schema) {
  const view = element("div", { class: "schema" });
  for (const part of parts(document, schema)) {
    const target = part.$ref ? resolve(document, part.$ref) : part;
    view.append(target.properties ? members(document, target) : schemaView(document, target));
  }
  return view;
}

function members(document, schema) {
  const list = element("dl");
  for (const [name, member] of Object.entries(schema.properties)) {
    const required = schema.required?.includes(name);
    list.append(
      element("dt", {}, [
        element("code", {}, [name]),
        element("span", { class: "faint" }, [` ${typeName(member)}${required ? ", required" : ""}`]),
      ]),
    );
    const told = element("dd");
    if (member.description) told.append(prose(member.description));
    const bounds = limits(member);
    if (bounds) told.append(element("div", { class: "faint" }, [bounds]));
    if (parts(document, member).length) told.append(opened(document, member, "its members"));
    list.append(told);
  }
  return list;
}

/** Details that are filled when they are opened first. */
function opened(document, schema, title) {
  const details = element("details", {}, [element("summary", {}, [title])]);
  details.addEventListener("toggle", () => details.append(schemaView(document, schema)), { once: true });
  return details;
}
