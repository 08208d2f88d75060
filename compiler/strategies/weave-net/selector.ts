/**
 * Selectors and blocks as weave-npc keys them: by their printed form. The printed form is the identity of a set, so two
 * selectors that print alike share one, and names are a hash of it.
 *
 * Source: weave npc/selector.go, npc/ipblock.go, npc/shortname.go; apimachinery pkg/labels/selector.go for the text.
 */
import { LRUCache } from "lru-cache";
import { compareText } from "../../age.ts";
import { sha1 } from "../../hash.ts";
import type { Endpoint, LabelSelector, Labels, Namespace } from "../../model.ts";
import { matchesSelector } from "../../selector.ts";

/** Digits of the base-85 set names, least significant first (npc/shortname.go). */
const SHORT_NAME_SYMBOLS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789(){}[]+=_$%^!*|/?.;:@#~";

/** `weave-` and the SHA-1 of `text` as a base-85 number: 31 characters at most, ipset's limit. */
export function setName(text: string): string {
  names ??= new LRUCache({ max: 65_536 });
  const name = names.get(text) ?? hashedName(text);
  names.set(text, name);
  return name;
}

/**
 * Three names for each namespace, and one for each selector, in every state. Made when the first is asked for: room for all
 * of them takes milliseconds to make, which commands about other solutions need not wait for.
 */
let names: LRUCache<string, string> | undefined;

function hashedName(text: string): string {
  let value = 0n;
  for (const byte of sha1(text)) value = (value << 8n) | BigInt(byte);
  const base = BigInt(SHORT_NAME_SYMBOLS.length);
  let digits = "";
  for (; value > 0n; value /= base) digits += SHORT_NAME_SYMBOLS[Number(value % base)] ?? "";
  return `weave-${digits}`;
}

/** The text of a selector as `labels.Selector.String()` prints it: requirements by key, values sorted. */
export function selectorText(selector: LabelSelector): string {
  const requirements: { readonly key: string; readonly text: string }[] = [];
  for (const [key, value] of selector.matchLabels) requirements.push({ key, text: `${key}=${value}` });
  for (const { key, operator, values } of selector.matchExpressions) {
    const list = [...values].sort().join(",");
    switch (operator) {
      case "In":
        requirements.push({ key, text: `${key} in (${list})` });
        break;
      case "NotIn":
        requirements.push({ key, text: `${key} notin (${list})` });
        break;
      case "Exists":
        requirements.push({ key, text: key });
        break;
      case "DoesNotExist":
        requirements.push({ key, text: `!${key}` });
        break;
    }
  }
  requirements.sort((a, b) => compareText(a.key, b.key));
  return requirements.map(({ text }) => text).join(",");
}

/** A set that a policy needs, under the key that decides whether it exists already. */
export interface SelectorSpec {
  /** The printed selectors, namespace selector first, with nothing between them. */
  readonly key: string;
  /** "" for selectors over namespaces. */
  readonly namespace: string;
  readonly set: string;
  readonly type: "hash:ip" | "list:set";
  readonly podSelector: LabelSelector | undefined;
  readonly namespaceSelector: LabelSelector | undefined;
}

export function selectorSpec(
  namespace: string,
  podSelector: LabelSelector | undefined,
  namespaceSelector: LabelSelector | undefined,
): SelectorSpec {
  const key =
    (namespaceSelector === undefined ? "" : selectorText(namespaceSelector)) +
    (podSelector === undefined ? "" : selectorText(podSelector));
  const owner = namespaceSelector === undefined ? namespace : "";
  return {
    key,
    namespace: owner,
    set: setName(`${owner}:${key}`),
    type: podSelector === undefined ? "list:set" : "hash:ip",
    podSelector,
    namespaceSelector,
  };
}

/** Whether the pod belongs to the set; selectors without a namespace selector are asked only about their own namespace. */
export function selectsPod(spec: SelectorSpec, pod: Endpoint, namespaceLabels: Labels): boolean {
  return (
    (spec.podSelector === undefined || matchesSelector(spec.podSelector, pod.labels)) &&
    (spec.namespaceSelector === undefined || matchesSelector(spec.namespaceSelector, namespaceLabels))
  );
}

export function selectsNamespace(spec: SelectorSpec, namespace: Namespace): boolean {
  return spec.namespaceSelector !== undefined && matchesSelector(spec.namespaceSelector, namespace.labels);
}

/** The comment a rule carries for this side. */
export function selectorComment(spec: SelectorSpec): string {
  return spec.namespace === ""
    ? `namespaces: selector: ${spec.key}`
    : `pods: namespace: ${spec.namespace}, selector: ${spec.key}`;
}
