# Teacher: DINOv2 ViT-B/14 with registers, a network of maps without heads and classes, by timm:
# its weights are fetched by timm's own loader. 14 pixels of a patch stand for 16 of the student's
# image, so that the map of its last block lies on P4.
teacher = dict(
    config=dict(type='TimmMaps', name='vit_base_patch14_reg4_dinov2.lvd142m', stride=16),
    checkpoint='timm://vit_base_patch14_reg4_dinov2.lvd142m',
)
