/** The packet: ends, protocol, ports, flags, family. */
import { useSignalEffect } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import type { ClusterPicture, WalkTarget } from "./messages.ts";
import { chooseFamily, type Draft, draft, draftOf, sendDraft, WITH_PORTS, WITH_TYPES } from "./packet.ts";
import { cluster as drawn, family, sendNext, target, walk } from "./state.ts";

export function PacketForm() {
  const typedFor = useRef<WalkTarget>(undefined);
  useSignalEffect(() => {
    const packet = walk.value?.packet;
    // A walk that took its time does not undo what was typed meanwhile.
    if (packet !== undefined && typedFor.current !== target.peek()) draft.value = draftOf(packet);
  });
  const now = draft.value;
  const set = (part: Partial<Draft>) => {
    typedFor.current = target.peek();
    draft.value = { ...draft.value, ...part };
  };
  const text = (name: keyof Draft, label: string, more: { readonly list?: string; readonly size?: number } = {}) => (
    <label class="field">
      <span>{label}</span>
      <input
        type="text"
        value={now[name]}
        spellcheck={false}
        autocomplete="off"
        {...more}
        onInput={({ currentTarget }) => set({ [name]: currentTarget.value })}
      />
    </label>
  );
  const cluster = drawn.value;
  // A thousand of them are drawn when the cluster changes, not with every key in a field.
  const ends = useMemo(() => <Ends cluster={cluster} />, [cluster]);
  return (
    <form
      class="packet"
      aria-label="Packet"
      onSubmit={(event) => {
        event.preventDefault();
        void sendDraft();
      }}
    >
      {ends}
      {text("source", "From", { list: "ends", size: 22 })}
      {text("destination", "To", { list: "ends", size: 22 })}
      <label class="field">
        <span>Protocol</span>
        <select value={now.protocol} onChange={({ currentTarget }) => set(protocolPart(currentTarget.value))}>
          {[...new Set(["tcp", "udp", "sctp", "icmp", "icmpv6", "esp", "gre", now.protocol])].map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      {WITH_PORTS.has(now.protocol) && text("port", "Port", { size: 5 })}
      {WITH_PORTS.has(now.protocol) && text("sourcePort", "Source port", { size: 5 })}
      {now.protocol === "tcp" && text("flags", "Flags", { size: 3 })}
      {WITH_TYPES.has(now.protocol) && text("icmpType", "Type", { size: 3 })}
      {WITH_TYPES.has(now.protocol) && text("icmpCode", "Code", { size: 3 })}
      <label class="field">
        <span>Family</span>
        <select
          value={family.value === undefined ? "" : String(family.value)}
          onChange={({ currentTarget }) => void chooseFamily(familyOf(currentTarget.value))}
        >
          <option value="">first</option>
          <option value="4">IPv4</option>
          <option value="6">IPv6</option>
        </select>
      </label>
      <button type="submit" class="primary">
        Send
      </button>
      <fieldset class="next">
        <legend class="visually-hidden">Send next</legend>
        <span class="faint">then</span>
        <button type="button" onClick={() => void sendNext("reply")}>
          Reply
        </button>
        <button type="button" onClick={() => void sendNext("retransmission")}>
          Again
        </button>
        <button type="button" onClick={() => void sendNext("error")}>
          ICMP error
        </button>
      </fieldset>
    </form>
  );
}

function Ends({ cluster }: { readonly cluster: ClusterPicture | undefined }) {
  return (
    <datalist id="ends">
      {cluster?.pods.map(({ key }) => (
        <option key={key} value={key} />
      ))}
      {cluster?.nodes.map(({ name }) => (
        <option key={name} value={`node:${name}`} />
      ))}
      {cluster?.outside.map((address) => (
        <option key={address} value={address} />
      ))}
    </datalist>
  );
}

function protocolPart(protocol: string): Partial<Draft> {
  return { protocol, ...(WITH_TYPES.has(protocol) && { icmpType: protocol === "icmp" ? "8" : "128", icmpCode: "0" }) };
}

function familyOf(text: string): 4 | 6 | undefined {
  return text === "4" ? 4 : text === "6" ? 6 : undefined;
}
