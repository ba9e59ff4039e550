"""Why a model cannot be lowered, said to its author: module, line, what to do."""
