"""How Gradio runs what answers a click."""

# Clicks are answered one after the other: two of one visitor must not overtake each other.
CLICK = {
    "concurrency_id": "segment", "concurrency_limit": 1, "show_progress": "hidden",
    "trigger_mode": "multiple", "api_visibility": "private",
}  # fmt: skip
