"""The shell's side: one small function a verb, no logic. Heavy imports happen inside the verbs."""
