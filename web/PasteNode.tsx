/** The saves of a real node, pasted. */
import { useRef, useState } from "preact/hooks";
import { load, loaded, saved, strategy } from "./state.ts";

export function PasteNode() {
  const dialog = useRef<HTMLDialogElement>(null);
  const [node, setNode] = useState("");
  const [text, setText] = useState({ iptablesSave: "", ip6tablesSave: "", ipsetSave: "" });
  const nodes = loaded.value?.cluster?.nodes ?? [];
  const chosen = node === "" ? (nodes[0]?.name ?? "") : node;
  const box = (name: keyof typeof text, label: string) => (
    <label class="field">
      {label}
      <textarea
        rows={5}
        spellcheck={false}
        value={text[name]}
        onInput={({ currentTarget }) => setText({ ...text, [name]: currentTarget.value })}
      />
    </label>
  );
  return (
    <>
      <button type="button" onClick={() => dialog.current?.showModal()}>
        Paste a node…
      </button>
      <dialog ref={dialog} aria-labelledby="paste-title">
        <form
          method="dialog"
          onSubmit={() => {
            saved.value = { node: chosen, strategy: strategy.value, ...text };
            void load();
          }}
        >
          <h2 id="paste-title">A node's own rules</h2>
          <p>
            What <code>iptables-save</code>, <code>ip6tables-save</code> and <code>ipset save</code> print on a node
            stands in the place of the compiled program of <strong>{strategy.value}</strong>. The manifests still say
            where pods are.
          </p>
          <label class="field">
            Node
            <select value={chosen} onChange={({ currentTarget }) => setNode(currentTarget.value)}>
              {nodes.map(({ name }) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
          {box("iptablesSave", "iptables-save")}
          {box("ip6tablesSave", "ip6tables-save")}
          {box("ipsetSave", "ipset save")}
          <p class="actions">
            <button type="button" onClick={() => dialog.current?.close()}>
              Cancel
            </button>
            <button type="submit" class="primary">
              Read them
            </button>
          </p>
        </form>
      </dialog>
    </>
  );
}
