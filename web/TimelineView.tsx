/** A story with a scrubber: every operation a notch, leaks and outages marked where packets meet them. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { TimelineReport, TimelineStepView, WindowView } from "./messages.ts";
import { Report } from "./Report.tsx";
import { askReport, generation, limit, loaded, showMoment, strategy, timelineNode } from "./state.ts";
import { useReport } from "./useReport.ts";
import { Waiting } from "./Waiting.tsx";

interface Notch {
  readonly step: TimelineStepView;
  /** Operations done; 0: none yet. */
  readonly operation: number;
}

export function TimelineView() {
  const nodes = loaded.value?.cluster?.nodes.map(({ name }) => name) ?? [];
  const at = useSignal(0);
  const chosen = nodes.includes(timelineNode.value) ? timelineNode.value : (nodes[0] ?? "");
  const changes = loaded.value?.changes ?? 0;
  const now = generation.value;
  const name = strategy.value;
  const { result, isRunning } = useReport(
    changes === 0 || chosen === ""
      ? undefined
      : () =>
          askReport("timeline", {
            strategy: name,
            node: chosen,
            ...(limit.value !== undefined && { limit: limit.value }),
          }),
    [now, name, chosen, changes, limit.value],
  );
  useEffect(() => {
    at.value = 0;
  }, [result]);
  return (
    <section class="pane report" aria-labelledby="timeline-title">
      <header class="pane-head">
        <h2 id="timeline-title">Timeline</h2>
        <label class="inline">
          <span class="label">Node</span>
          <select
            value={chosen}
            onChange={({ currentTarget }) => {
              timelineNode.value = currentTarget.value;
            }}
          >
            {nodes.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
        <span class="faint">what {name} does at each change, and what packets meet in between</span>
      </header>
      {changes === 0 && (
        <p class="waiting">
          These manifests do not change. Choose a scenario with changes (rule-in-front), or open step-0.yaml,
          step-1.yaml, … together.
        </p>
      )}
      {isRunning && <Waiting what="every class of packets at each operation" />}
      {result !== undefined && (
        <Scrubber
          result={result}
          at={at.value}
          go={(next) => {
            at.value = next;
          }}
        />
      )}
      {result !== undefined && <Report title="timeline" lines={result.lines} />}
    </section>
  );
}

function notchesOf({ steps }: TimelineReport): readonly Notch[] {
  return steps.flatMap((step) =>
    Array.from({ length: step.operations.length + 1 }, (_, operation): Notch => ({ step, operation })),
  );
}

interface ScrubberProps {
  readonly result: TimelineReport;
  readonly at: number;
  readonly go: (next: number) => void;
}

function Scrubber({ result, at, go }: ScrubberProps) {
  const notches = notchesOf(result);
  const last = Math.max(1, notches.length - 1);
  const notch = notches[Math.min(at, notches.length - 1)];
  if (notch === undefined) return undefined;
  const { step, operation } = notch;
  const done = step.operations[operation - 1];
  const open = step.windows.filter((window) => isOpenAt(window, operation));
  const text = `step ${step.step}, ${operation} of ${step.operations.length} operations done`;
  return (
    <div class="scrubber">
      <svg class="track" viewBox={`0 0 ${last} 10`} preserveAspectRatio="none" aria-hidden="true">
        {notches.map((each, index) =>
          each.operation === 0 ? (
            <rect key={`step ${each.step.step}`} class="step" x={index} y="0" width={last / 400} height="10" />
          ) : undefined,
        )}
        {result.steps.flatMap((each) => {
          const start = notches.findIndex((candidate) => candidate.step === each);
          return each.windows.map((window) => (
            <rect
              key={`${each.step} ${window.text}`}
              class={window.kind}
              x={start + window.from}
              y={window.kind === "outage" ? 5.5 : 1}
              width={Math.max(last / 300, window.to - window.from)}
              height="3.5"
            />
          ));
        })}
      </svg>
      <input
        id="scrubber"
        type="range"
        min="0"
        max={String(notches.length - 1)}
        value={String(at)}
        aria-label="Moment of the story"
        aria-valuetext={text}
        onInput={({ currentTarget }) => go(Number(currentTarget.value))}
      />
      <p class="legend" aria-hidden="true">
        <i class="cell leak" /> leak <i class="cell open" /> open <i class="cell outage" /> outage
      </p>
      <p>
        <b>{step.what}</b> <span class="faint">{text}</span>
      </p>
      <p>
        <code>{done === undefined ? "before the first operation" : done.command}</code>
      </p>
      {done?.input !== undefined && (
        <details>
          <summary>{done.input.length.toLocaleString("en")} characters of input</summary>
          <pre class="text">{done.input}</pre>
        </details>
      )}
      <ul class="examples" aria-label="What packets meet here">
        {open.length === 0 && <li class="faint">packets meet what they meet before or after</li>}
        {open.map((window) => (
          <li key={window.text}>
            <b class={WORD_COLOURS[window.kind]}>{window.kind}</b> {window.text}{" "}
            <button
              type="button"
              class="link"
              onClick={() => void showMoment({ step: step.step, operation, packet: window.packet })}
            >
              walk it here
            </button>
          </li>
        ))}
      </ul>
      {operation === step.operations.length && (
        <p class="faint">
          connections: {step.connections.survive} survive, {step.connections.cut} cut, {step.connections.inherited}{" "}
          inherited
        </p>
      )}
    </div>
  );
}

/** As the bars above. */
const WORD_COLOURS = { leak: "drop", open: "unknown", outage: "reject" } as const satisfies Record<
  WindowView["kind"],
  string
>;

function isOpenAt({ from, to }: WindowView, operation: number): boolean {
  return Math.floor(from) <= operation && operation < Math.ceil(to);
}
