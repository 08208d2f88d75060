/**
 * Watch events as `kubectl get … --watch -o json` prints them: one JSON value after the other, on a line each or over
 * several. With `--output-watch-events` each says its type; without, an object stands for itself, and that it is deleted
 * cannot be seen. When it came kubectl does not say; who records may add it to each value as `time`. Where nobody has, the
 * objects themselves are asked (`writtenTime`), and the order of events stands above what they say.
 */
import { loadObjects, resolvePolicies } from "../compiler/compile.ts";
import type { Issue } from "../compiler/issue.ts";
import { type ParsedObject, parseManifests, SERVICE_KINDS } from "../compiler/manifest/objects.ts";
import { isRecord } from "../compiler/manifest/values.ts";
import { parseTime } from "../traffic/logs/fields.ts";
import type { StoryState, StoryTime } from "../verify/story.ts";
import { readManifests } from "./input.ts";
import { InvalidInput } from "./io.ts";
import type { Session } from "./session.ts";

type WatchVerb = "ADDED" | "MODIFIED" | "DELETED";

interface WatchEvent {
  readonly verb: WatchVerb;
  readonly objects: readonly ParsedObject[];
  readonly text: string;
  /** Seconds since the epoch; undefined: not said. */
  readonly time: number | undefined;
  /** The same by what is written in the object. */
  readonly written: number | undefined;
  /** As --output-watch-events has it. */
  readonly isTyped: boolean;
}

/**
 * The leading run of objects seen for the first time is what was there when the watch began; each later event that
 * changes anything is a step.
 */
export async function watchedStates(session: Session, path: string): Promise<readonly StoryState[]> {
  const [file] = await readManifests(session.io, [path]);
  const { events, issues } = readEvents(file?.text ?? "", path);
  await session.report(issues);
  if (issues.length > 0 || events.length === 0) {
    if (issues.length === 0) await session.error(`${path}: no watch events in it`);
    throw new InvalidInput();
  }
  const known = new Map<string, ParsedObject>();
  let first = 0;
  for (; first < events.length; first++) {
    const event = events[first];
    if (event === undefined || event.verb !== "ADDED") break;
    if (event.objects.some((object) => known.has(keyOf(object)))) break;
    for (const object of event.objects) known.set(keyOf(object), object);
  }
  if (events.every(({ isTyped }) => !isTyped)) {
    await session.note(
      `${path}: objects without a type of event: that one is deleted cannot be seen; record with kubectl's --output-watch-events`,
    );
  }
  const changes = events.slice(first);
  const isWritten = changes.every(({ time, written }) => time === undefined && written !== undefined);
  const states: StoryState[] = [await stateOf(session, known, { text: undefined, time: undefined })];
  let latest = Number.NEGATIVE_INFINITY;
  for (const { verb, objects, text, time, written } of changes) {
    latest = Math.max(latest, written ?? latest);
    for (const object of objects) {
      if (verb === "DELETED") known.delete(keyOf(object));
      else known.set(keyOf(object), object);
    }
    const said = time === undefined ? undefined : ({ seconds: time, from: "the epoch" } as const);
    const found = isWritten ? ({ seconds: latest, from: "the epoch", isFound: true } as const) : undefined;
    states.push(await stateOf(session, known, { text, time: said ?? found }));
  }
  return states;
}

async function stateOf(
  session: Session,
  known: ReadonlyMap<string, ParsedObject>,
  { text, time }: { readonly text: string | undefined; readonly time: StoryTime | undefined },
): Promise<StoryState> {
  const all = [...known.values()];
  const isService = ({ apiVersion, kind }: ParsedObject) => SERVICE_KINDS.has(`${apiVersion} ${kind}`);
  const services = all.filter(isService);
  const objects = all.filter((object) => !isService(object));
  const { model, issues } = loadObjects({ objects, issues: [], skipped: new Map(), services });
  if (model === undefined) {
    await session.report(issues);
    throw new InvalidInput();
  }
  return {
    what: text,
    cluster: resolvePolicies(model),
    services,
    ...(time !== undefined && { time }),
  };
}

function keyOf({ kind, value }: ParsedObject): string {
  const metadata = (value.metadata ?? {}) as { readonly namespace?: unknown; readonly name?: unknown };
  return `${kind} ${String(metadata.namespace ?? "")}/${String(metadata.name)}`;
}

interface ReadEvents {
  readonly events: readonly WatchEvent[];
  readonly issues: readonly Issue[];
}

function readEvents(text: string, file: string): ReadEvents {
  const events: WatchEvent[] = [];
  let last = Number.NEGATIVE_INFINITY;
  for (const { value, line } of jsonValues(text)) {
    const problem = (message: string, column = 1): ReadEvents => ({
      events: [],
      issues: [{ code: "watch", severity: "error", message, file, line, column, path: "" }],
    });
    if (value === undefined)
      return problem("want one JSON value after the other, as kubectl get --watch -o json prints them");
    const event = value as Readonly<Partial<Record<"type" | "object" | "kind" | "time", unknown>>>;
    const wrapped = event.kind === undefined && event.type !== undefined;
    const verb = wrapped ? event.type : "ADDED";
    if (verb === "BOOKMARK") continue;
    const time = timeOf(event.time);
    if (event.time !== undefined && time === undefined) {
      return problem(`time ${JSON.stringify(event.time)}: want 2024-05-01T12:00:00Z, or seconds since the epoch`);
    }
    if (time !== undefined && time < last) return problem(`time never decreases: found ${time} after ${last}`);
    if (time === undefined && last > Number.NEGATIVE_INFINITY) {
      return problem("no time, which the events before have: want it in all of them or in none");
    }
    last = time ?? last;
    if (verb !== "ADDED" && verb !== "MODIFIED" && verb !== "DELETED") {
      return problem(`type ${JSON.stringify(event.type)}: want ADDED, MODIFIED, DELETED or BOOKMARK`);
    }
    const object = wrapped ? event.object : value;
    const parsed = parseManifests([{ name: file, text: JSON.stringify(object) }]);
    if (parsed.issues.length > 0) return { events: [], issues: parsed.issues.map((issue) => ({ ...issue, line })) };
    const objects = [...parsed.objects, ...parsed.services];
    if (objects.length === 0) continue;
    const names = objects.map((each) => keyOf(each).replace(" /", " ")).join(", ");
    const written = writtenTime(verb, objects[0]?.value);
    events.push({ verb, objects, text: `${verb} ${names}`, time, written, isTyped: wrapped });
  }
  return { events, issues: [] };
}

/**
 * When the object says that the event was: its creation; the latest of its `managedFields`, each of which is dated anew when
 * its manager changes a value; of one that is deleted the latest that was written while it ended, or else when its grace
 * runs out. Undefined: it does not say, as an object that goes at once does not.
 */
function writtenTime(verb: WatchVerb, object: ParsedObject["value"] | undefined): number | undefined {
  const metadata = recordOf(object?.metadata);
  if (verb === "ADDED") return timeOf(metadata.creationTimestamp);
  const managed = Array.isArray(metadata.managedFields) ? metadata.managedFields : [];
  const written = managed.flatMap((each) => timeOf(recordOf(each).time) ?? []);
  const latest = written.length === 0 ? undefined : written.reduce((a, b) => Math.max(a, b));
  if (verb === "MODIFIED") return latest;
  const end = timeOf(metadata.deletionTimestamp);
  if (end === undefined) return undefined;
  const grace = Number(metadata.deletionGracePeriodSeconds ?? 0);
  return latest !== undefined && latest >= end - grace && latest <= end ? latest : end;
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return isRecord(value) ? value : {};
}

/** Undefined: no time. */
function timeOf(value: unknown): number | undefined {
  if (typeof value === "number") return parseTime(String(value));
  return typeof value === "string" && value.trim() !== "" ? parseTime(value) : undefined;
}

interface JsonValue {
  /** Undefined: no JSON. */
  readonly value: object | undefined;
  /** Where it begins. */
  readonly line: number;
}

/** Values one after the other, cut where brackets close. Linear in the text. */
function* jsonValues(text: string): Generator<JsonValue> {
  let line = 1;
  let start = -1;
  let startLine = 1;
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === "\n") line++;
    if (start < 0) {
      if (character === undefined || /\s/.test(character) || character === "\uFEFF") continue;
      if (character !== "{") {
        yield { value: undefined, line };
        return;
      }
      start = at;
      startLine = line;
    }
    if (quoted) {
      if (character === "\\") at++;
      else if (character === '"') quoted = false;
      continue;
    }
    if (character === '"') quoted = true;
    else if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    if (depth > 0) continue;
    yield { value: parsed(text.slice(start, at + 1)), line: startLine };
    start = -1;
  }
  if (start >= 0) yield { value: undefined, line: startLine };
}

function parsed(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
