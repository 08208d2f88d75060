/** Timelines for people: a table, Markdown, a page. */

import type { ServiceAtom } from "../verify/space.ts";
import { servicesText } from "../verify/space.ts";
import type { Transient, TransientKind } from "../verify/timeline/transients.ts";
import type { MetLapse, TimelineStep } from "../verify/timeline.ts";
import { type Cell, formatColumns } from "./columns.ts";
import { leftLines } from "./coverage.ts";
import type { Paint } from "./paint.ts";
import { endText, numberedOperations } from "./timelineJson.ts";
import { timelinePage } from "./timelinePage.ts";

/** A story as one node under one solution lived it. */
export interface Lived {
  readonly strategy: string;
  readonly node: string;
  readonly steps: readonly TimelineStep[];
  /** How long windows last on some machine. */
  readonly clock?: Clock;
}

export interface Clock {
  /** The machine's profile. */
  readonly name: string;
  /** Undefined: not known. */
  milliseconds(step: TimelineStep, window: Pick<Transient, "from" | "to">): number | undefined;
}

/** `7.31 ms on NAME`, apart from what is counted, or that it is not known; empty without a clock. */
export function lastsText(step: TimelineStep, window: Pick<Transient, "from" | "to">, clock?: Clock): string {
  if (clock === undefined) return "";
  const milliseconds = clock.milliseconds(step, window);
  return milliseconds === undefined
    ? `how long is not known on ${clock.name}`
    : `${figures(milliseconds)} ms on ${clock.name}`;
}

/** Writes into maps take microseconds. */
function figures(milliseconds: number): string {
  if (milliseconds >= 10) return milliseconds.toFixed(0);
  return milliseconds >= 0.1 ? milliseconds.toFixed(2) : String(Number(milliseconds.toPrecision(2)));
}

export function formatTimelines(
  lived: readonly Lived[],
  format: "table" | "md" | "html",
  paint: Paint,
): readonly string[] {
  switch (format) {
    case "table":
      return lived.flatMap((one, index) => [...(index === 0 ? [] : [""]), ...tableOf(one, paint)]);
    case "md":
      return lived.flatMap((one, index) => [...(index === 0 ? [] : [""]), ...markdownOf(one)]);
    case "html":
      return timelinePage(lived);
  }
}

/** Windows of one kind between one pair, with the services they are alike for. */
export interface ShownWindow {
  readonly kind: TransientKind;
  readonly source: string;
  readonly destination: string;
  readonly services: readonly string[];
  /** `1`, or `1.7`: part 7 of operation 1. */
  readonly from: string;
  readonly to: string;
  /** One of its classes. */
  readonly example: Transient;
}

/** The windows of a step, classes that differ in the service alone together. */
export function windowsOf({ transients, operations }: TimelineStep): readonly ShownWindow[] {
  const { numbers } = numberedOperations(operations);
  const partOf = ({ operation, part }: Transient["from"]) => {
    const parts = operations[operation - 1]?.parts.length ?? 1;
    return `${numbers[operation] ?? 0}${parts > 1 && part < parts ? `.${part}` : ""}`;
  };
  const groups = new Map<string, { readonly first: Transient; readonly services: ServiceAtom[] }>();
  for (const transient of transients.found) {
    const { kind, source, destination, from, to } = transient;
    const key = [kind, endText(source), endText(destination), from.operation, from.part, to.operation, to.part].join(
      "\t",
    );
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { first: transient, services: [transient.service] });
    else group.services.push(transient.service);
  }
  const pods = ({ first }: { readonly first: Transient }) =>
    [first.source, first.destination].filter(({ pod }) => pod !== undefined).length;
  // Between pods is what people ask about first.
  const sorted = [...groups.values()].sort((a, b) => pods(b) - pods(a));
  return sorted.map(({ first, services }) => ({
    kind: first.kind,
    source: endText(first.source),
    destination: endText(first.destination),
    services: servicesText(services),
    from: partOf(first.from),
    to: partOf(first.to),
    example: first,
  }));
}

/** Lines of windows that a person is shown for a step. */
const SHOWN_WINDOWS = 12;
/** Services of a window that a person is shown. */
const SHOWN_SERVICES = 4;

/** Boxes of what a limit left out that a person is shown for a step. */
const SHOWN_LEFT = 5;

const HEAD = [
  "step",
  "operations",
  "rules",
  "set entries",
  "map entries",
  "bytes",
  "differed",
  "survive",
  "stalled",
  "cut",
  "inherited",
  "what",
];

function cellsOf(step: TimelineStep): readonly string[] {
  const { written, differed, connections } = step;
  return [
    String(step.step.number),
    String(numberedOperations(step.operations).operations.length),
    String(written.rules),
    String(written.setEntries),
    String(written.mapEntries),
    String(written.bytes),
    String(differed.rules + differed.setEntries + differed.mapEntries),
    String(connections.survive),
    String(connections.stalled),
    String(connections.cut),
    String(connections.inherited),
    step.step.what,
  ];
}

function tableOf({ strategy, node, steps, clock }: Lived, paint: Paint): readonly string[] {
  const rows = [HEAD, ...steps.map(cellsOf)].map((row, index) =>
    row.map(
      (text, column): Cell => ({
        text,
        align: column < row.length - 1 ? "right" : "left",
        ...(index === 0 && { look: "faint" as const }),
      }),
    ),
  );
  const [head = "", ...lines] = formatColumns(rows, { paint });
  return [
    paint.strong(`${strategy} on ${node}`),
    head,
    ...lines.flatMap((line, index) => {
      const step = steps[index];
      return step === undefined ? [line] : [line, ...windowLines(step, clock, paint)];
    }),
  ];
}

function windowLines(step: TimelineStep, clock: Clock | undefined, paint: Paint): readonly string[] {
  const windows = windowsOf(step);
  const lines = windows.slice(0, SHOWN_WINDOWS).map((window) => {
    const lasts = lastsText(step, window.example, clock);
    return `      ${looked(window.kind, paint)} ${windowText(window)}${lasts === "" ? "" : paint.faint(` (${lasts})`)}`;
  });
  if (windows.length > SHOWN_WINDOWS)
    lines.push(paint.faint(`      and ${windows.length - SHOWN_WINDOWS} windows more`));
  lines.push(...shortTexts(step).map((text) => paint.faint(`      ${text}`)));
  return [...lines, ...step.lapses.map((met) => `      ${paint.warn("lapse ")} ${lapseText(met)}`)];
}

/** How many classes of a step were followed, and which were not; nothing where all were. */
export function shortTexts({ transients: { followed, concerned, left } }: TimelineStep): readonly string[] {
  if (followed >= concerned) return [];
  const more = left.length - SHOWN_LEFT;
  return [
    `${followed} of ${concerned} classes of packets followed`,
    ...leftLines(left.slice(0, SHOWN_LEFT)),
    ...(more > 0 ? [`and ${more} more`] : []),
  ];
}

/** What is made here, or would be, and how to see the other way. */
export function lapseText({ lapse: { name, summary, setting }, isMade }: MetLapse): string {
  const other = `--set ${setting.option}=${isMade ? setting.off : setting.on}`;
  return isMade ? `${name}: ${summary} (without it: ${other})` : `${name} can happen here (${other}): ${summary}`;
}

function looked(kind: TransientKind, paint: Paint): string {
  const text = kind.padEnd(6);
  return kind === "outage" ? paint.warn(text) : paint.bad(text);
}

/** `prod/client-2 > prod/web-1 tcp/8080, from operation 1.7 to 2`. */
export function windowText({ source, destination, services, from, to }: ShownWindow): string {
  const shown = services.slice(0, SHOWN_SERVICES).join(", ");
  const more = services.length > SHOWN_SERVICES ? ` and ${services.length - SHOWN_SERVICES} services more` : "";
  return `${source} > ${destination} ${shown}${more}, from operation ${from} to ${to}`;
}

function markdownOf({ strategy, node, steps, clock }: Lived): readonly string[] {
  const row = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const windows = steps.flatMap((step) =>
    windowsOf(step).map(
      (window) => [String(step.step.number), window, lastsText(step, window.example, clock)] as const,
    ),
  );
  const timed = clock !== undefined;
  return [
    `## ${strategy} on ${node}`,
    "",
    row(HEAD),
    row(HEAD.map((_, index) => (index < HEAD.length - 1 ? "---:" : "---"))),
    ...steps.map((step) => row(cellsOf(step))),
    ...(windows.length === 0
      ? []
      : [
          "",
          row(["step", "window", "packets", "from", "to", ...(timed ? ["lasts"] : [])]),
          row(["---:", "---", "---", "---:", "---:", ...(timed ? ["---:"] : [])]),
          ...windows.map(([step, { kind, source, destination, services, from, to }, lasts]) =>
            row([step, kind, `${source} > ${destination} ${services.join(", ")}`, from, to, ...(timed ? [lasts] : [])]),
          ),
        ]),
    ...steps.flatMap((step) => shortTexts(step).map((text) => `\nStep ${step.step.number}, ${text}`)),
    ...steps.flatMap(({ step, lapses }) => lapses.map((met) => `\nStep ${step.number}, lapse ${lapseText(met)}`)),
  ];
}
