import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";

/** A button that asks before it does something that cannot be taken back. */
export function Confirm({
  label,
  question,
  disabled = false,
  danger = false,
  onYes,
}: {
  readonly label: string;
  readonly question: ComponentChildren;
  readonly disabled?: boolean;
  readonly danger?: boolean;
  readonly onYes: () => void;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const close = () => dialog.current?.close();
  return (
    <>
      <button
        type="button"
        class={danger ? "danger" : ""}
        disabled={disabled}
        onClick={() => dialog.current?.showModal()}
      >
        {label}
      </button>
      <dialog ref={dialog} aria-label={label}>
        <div class="question">{question}</div>
        <div class="actions">
          <button type="button" onClick={close}>
            Keep as it is
          </button>
          <button
            type="button"
            class={danger ? "danger primary" : "primary"}
            onClick={() => {
              close();
              onYes();
            }}
          >
            {label}
          </button>
        </div>
      </dialog>
    </>
  );
}
