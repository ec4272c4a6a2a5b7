"""How the processes of one scheduler reach each other: pipes and the control socket."""
