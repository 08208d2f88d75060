/** The packets in order: those of a scenario, or one's own conversation. */
import { chooseStep, loaded, packets, sendPackets, step } from "./state.ts";

export function Steps() {
  const story = loaded.value?.steps ?? [];
  const own = step.value === undefined ? packets.value : [];
  if (story.length === 0 && own.length < 2) return undefined;
  return (
    <section class="steps" aria-label="Packets in order">
      {step.value === undefined && own.length > 1 && (
        <ol class="own">
          {own.map((packet, index) => (
            <li key={JSON.stringify([index, packet])}>
              <button
                type="button"
                aria-current={index === own.length - 1 ? "step" : undefined}
                onClick={() => void sendPackets(own.slice(0, index + 1))}
              >
                {String(packet.protocol)} {String(packet.source)} &gt; {String(packet.destination)}{" "}
                {String(packet.tcpFlags ?? "")}
              </button>
            </li>
          ))}
        </ol>
      )}
      {story.length > 0 && (
        <ol>
          {story.map((each) =>
            each.kind === "change" ? (
              <li key={each.number} class="change">
                {each.text}
              </li>
            ) : (
              <li key={each.number}>
                <button
                  type="button"
                  data-step={each.number}
                  aria-current={step.value === each.number ? "step" : undefined}
                  onClick={() => void chooseStep(each.number)}
                >
                  <i class={`dot ${each.expect}`} title={`expected: ${each.expect}`} />
                  {each.text}
                </button>
              </li>
            ),
          )}
        </ol>
      )}
    </section>
  );
}
