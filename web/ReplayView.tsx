/** A recording through the rules: what would have become of its flows. */
import { useSignal } from "@preact/signals";
import { Report } from "./CompareView.tsx";
import { askReport, generation, loaded, strategy } from "./state.ts";
import { useReport } from "./useReport.ts";
import { Waiting } from "./Waiting.tsx";

export function ReplayView() {
  const second = useSignal("");
  const name = useSignal("");
  const bytes = useSignal<Uint8Array<ArrayBuffer> | undefined>(undefined);
  const first = strategy.value;
  const strategies = second.value === "" || second.value === first ? [first] : [first, second.value];
  const recording = bytes.value;
  const { result, isRunning } = useReport(
    recording && (() => askReport("replay", { strategies, name: name.value, bytes: recording })),
    [generation.value, strategies.join(" "), recording],
  );
  return (
    <section class="pane report" aria-labelledby="replay-title">
      <header class="pane-head">
        <h2 id="replay-title">Replay</h2>
        <label class="button">
          {name.value === "" ? "Open a capture or flow log…" : name.value}
          <input
            type="file"
            class="visually-hidden"
            onChange={async ({ currentTarget }) => {
              const file = currentTarget.files?.[0];
              if (file === undefined) return;
              name.value = file.name;
              bytes.value = new Uint8Array(await file.arrayBuffer());
            }}
          />
        </label>
        <label class="inline">
          <span class="label">beside {strategy.value}</span>
          <select
            value={second.value}
            onChange={({ currentTarget }) => {
              second.value = currentTarget.value;
            }}
          >
            <option value="">nothing</option>
            {(loaded.value?.strategies ?? [])
              .filter((each) => each.name !== strategy.value)
              .map((each) => (
                <option key={each.name}>{each.name}</option>
              ))}
          </select>
        </label>
      </header>
      {bytes.value === undefined && (
        <p class="waiting">
          pcap, pcapng, flow logs of Cilium, Calico and clouds, or packets as JSON lines, plain or gzipped. They stay in
          this browser.
        </p>
      )}
      {isRunning && <Waiting what="the recording through the rules" />}
      {result?.notes.map((note) => (
        <p class="waiting" key={note}>
          {note}
        </p>
      ))}
      {result !== undefined && <Report title="replay" lines={result.lines} />}
    </section>
  );
}
