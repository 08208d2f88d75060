/** A recording through the rules: what would have become of its flows. */
import { useSignal } from "@preact/signals";
import { Report } from "./CompareView.tsx";
import type { ReplayReportView } from "./messages.ts";
import { askReport, loaded, report, strategy } from "./state.ts";
import { Waiting } from "./Waiting.tsx";

export function ReplayView() {
  const result = useSignal<ReplayReportView | undefined>(undefined);
  const isRunning = useSignal(false);
  const second = useSignal("");
  const name = useSignal("");
  const bytes = useSignal<Uint8Array<ArrayBuffer> | undefined>(undefined);
  const run = async () => {
    if (bytes.value === undefined) return;
    isRunning.value = true;
    result.value = undefined;
    const strategies = [
      strategy.value,
      ...(second.value === "" || second.value === strategy.value ? [] : [second.value]),
    ];
    try {
      result.value = await askReport("replay", { strategies, name: name.value, bytes: bytes.value });
    } catch (error) {
      report(error);
    } finally {
      isRunning.value = false;
    }
  };
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
              await run();
            }}
          />
        </label>
        <label class="inline">
          <span class="label">beside {strategy.value}</span>
          <select
            value={second.value}
            onChange={({ currentTarget }) => {
              second.value = currentTarget.value;
              void run();
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
      {isRunning.value && <Waiting what="the recording through the rules" />}
      {result.value?.notes.map((note) => (
        <p class="waiting" key={note}>
          {note}
        </p>
      ))}
      {result.value !== undefined && <Report title="replay" lines={result.value.lines} />}
    </section>
  );
}
