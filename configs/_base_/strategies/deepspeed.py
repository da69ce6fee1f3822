# Training by mmengine's FlexibleRunner with DeepSpeed ZeRO-2: gradients and optimizer state of the
# student are sharded over the processes. The teacher is outside the model: whole in every process.
#
# Needs `pip install deepspeed`. Add it to the `_base_` of a distilled config, wrap the optimizer
# there, and start that by tools/dist_train.sh:
#     optim_wrapper = dict(
#         _delete_=True,
#         type='DeepSpeedOptimWrapper',
#         optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
#     )
# ZeRO-3 is not for it: the terms read parameters of the connectors outside of their modules'
# forward, where that stage keeps them sharded.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='DeepSpeedStrategy',
    zero_optimization=dict(stage=2, allgather_partitions=True, reduce_scatter=True),
    bf16=dict(enabled=False),  # True computes the student, the teacher and their inputs in bfloat16
    inputs_to_half=['inputs'],  # takes the type of the parameters, whatever it is
)
