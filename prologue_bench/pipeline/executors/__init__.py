"""Ways to run the missing stages of a plan: in this process, or in workers side by side.

An executor walks the plan by `graph.StageGraph`, which says what is ready and what failed takes
along, has each stage run by `stage.run_stage`, in whatever process, and hands its `messages.Ending`
back to the graph.
"""
