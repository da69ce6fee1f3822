# Training by mmengine's FlexibleRunner with the student's parameters, gradients and optimizer state
# sharded over the processes (FSDP). The teacher is outside the model: whole in every process.
#
# Add it to the `_base_` of a distilled config and start that by tools/dist_train.sh. The model is
# one unit; an auto_wrap_policy may wrap parts of the backbone, but neither the RoI head nor the
# distiller, whose inside is read while the detector runs.
# Gradient clipping of mmengine's OptimWrapper sees one shard's norm only: leave clip_grad out.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='FSDPStrategy',
    state_dict_cfg='full',  # one plain file, as without FSDP
    model_wrapper=dict(type='MMFullyShardedDataParallel', use_orig_params=True),
)
