"""Where do the numbers in the five pictures come from? From the package: one case, drawn into `book/assets/diagrams`.

The case is the panel's reference deployment on full-rate bounds, so the pictures are predictions. The files are
committed, since pages and notebooks show them, and a test holds them to what this module draws.
Usage: python -m bytebill.site.look.pictures
"""

from collections.abc import Sequence

from bytebill.data import REPOSITORY
from bytebill.models import kv_stored_bytes_per_token, model
from bytebill.plotting import diagrams
from bytebill.roofline import Load, distinct_experts
from bytebill.trials.panels import REFERENCE

FOLDER = REPOSITORY / "book" / "assets" / "diagrams"
CASE = REFERENCE.deployment
CONTEXT_LEN = 8192
LENGTHS = (6, 2, 9, 3, 4, 8, 2, 5, 3, 7, 2, 4)  # steps of twelve requests, made up
N_SLOTS = 4
BATCHES = (1, 8, 64)

TOKEN_BYTES = kv_stored_bytes_per_token(CASE.model, precision=CASE.precision)
PREFILL_S = CASE.step_bounds(Load.prefill(n_tokens=REFERENCE.n_input_tokens)).max_s
STEP = Load.decode(batch_size=1, context_len=REFERENCE.n_input_tokens + REFERENCE.n_output_tokens / 2)
STEP_S, STEP_BYTES = CASE.step_bounds(STEP).max_s, CASE.step_cost(STEP).bytes
DECODE_SHARE = 1 - PREFILL_S / (PREFILL_S + (REFERENCE.n_output_tokens - 1) * STEP_S)
IN_BATCHES = diagrams.slots_in_batches(LENGTHS, n_slots=N_SLOTS)
REFILLED = diagrams.slots_refilled(LENGTHS, n_slots=N_SLOTS)
MIXTURE = model("deepseek-v3")


def experts_expected(n_tokens: int) -> float:
    """Experts of a layer that tokens meet on average, if all are as likely."""
    assert MIXTURE.moe
    moe = MIXTURE.moe
    return distinct_experts(moe.n_experts, n_experts_per_token=moe.n_experts_per_token, n_tokens=n_tokens)


def idle_share(passes: Sequence[diagrams.Pass]) -> float:
    """Share of the slots' steps in which nobody is served."""
    return 1 - sum(length for _, _, length in passes) / (N_SLOTS * diagrams.last_step(passes))


def five_pictures() -> dict[str, str]:
    """Every picture by its name."""
    moe, llm = MIXTURE.moe, CASE.model
    assert moe
    case = f"{llm.name}, {CASE.precision.name}, {CASE.n_devices} × {CASE.accelerator.name}"
    n_input, n_output = REFERENCE.n_input_tokens, REFERENCE.n_output_tokens
    return {
        "kv_cache": diagrams.kv_cache(
            model=f"{llm.name}, {CASE.precision.name}",
            n_layers=llm.n_layers,
            n_kv_heads=llm.n_kv_heads,
            bytes_of_cell=TOKEN_BYTES / llm.n_layers,
            bytes_of_token=TOKEN_BYTES,
            bytes_read=CONTEXT_LEN * TOKEN_BYTES,
            context_len=CONTEXT_LEN,
        ),
        "prefill_and_decode": diagrams.prefill_and_decode(
            prefill_s=PREFILL_S, step_s=STEP_S, n_input=n_input, n_output=n_output, model=case
        ),
        "slots": diagrams.slots_over_time(static=IN_BATCHES, continuous=REFILLED, n_slots=N_SLOTS),
        "experts": diagrams.experts_met(
            n_experts=moe.n_experts,
            met={n_tokens: round(experts_expected(n_tokens)) for n_tokens in BATCHES},
            n_each=moe.n_experts_per_token,
            n_shared=moe.n_shared_experts,
            model=MIXTURE.name,
        ),
        "two_pools": diagrams.hand_over(
            model=case,
            n_input=n_input,
            cache_bytes=n_input * TOKEN_BYTES,
            step_bytes=STEP_BYTES,
            prefill_s=PREFILL_S,
            step_s=STEP_S,
        ),
    }


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, svg in five_pictures().items():
        (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
